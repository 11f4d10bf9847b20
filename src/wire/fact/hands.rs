//! How the types of hands on product stand in a body.

use crate::engine::fact::{Child, Counts};
use crate::engine::hands::{Again, HandReason, Withdrawal};
use crate::wire::fact::field::{Field, child, child_text, word_fields};
use crate::wire::fact::json::{Flaw, ObjectReader, ObjectWriter};
use crate::wire::schema::{self, Shape};

word_fields!(Again HandReason Withdrawal);

impl Field for Child {
    fn write(&self, out: &mut ObjectWriter, key: &'static str) {
        out.text(key, &child_text(self));
    }

    fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
        let text = body.text(key)?;
        child(&text).ok_or_else(|| body.unfit(&text))
    }

    fn describe(shape: &mut Shape, key: &'static str) {
        shape.required(key, schema::child());
    }
}

/// Those that every close has, and those by hand, each where it is not 0: closes of before there were any read as they did.
macro_rules! counts {
    ([$($always:ident),+ $(,)?] [$($some:ident),+ $(,)?]) => {
        impl Field for Counts {
            fn write(&self, out: &mut ObjectWriter, key: &'static str) {
                out.object(key, |out| {
                    $(self.$always.write(out, stringify!($always));)+
                    $(if self.$some > 0 { self.$some.write(out, stringify!($some)); })+
                });
            }

            fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
                body.object(key, |body| {
                    Ok(Self {
                        $($always: Field::read(body, stringify!($always))?,)+
                        $($some: some(body, stringify!($some))?,)+
                    })
                })
            }

            fn describe(shape: &mut Shape, key: &'static str) {
                shape.nested(key, |shape| {
                    $(u32::describe(shape, stringify!($always));)+
                    $(Option::<u32>::describe(shape, stringify!($some));)+
                });
            }
        }
    };
}

counts! {
    [received, unused, burned, printed, commissioned, scrapped, unaccounted, packed, loose, triggers, pass, fail, no_read,
     missed, rejects_commanded, rejects_confirmed, rejects_resolved, bin, phantom, cases_released, pallets_released]
    [label_sampled, sampled, inactive, destroyed]
}

fn some(body: &mut ObjectReader<'_>, key: &'static str) -> Result<u32, Flaw> {
    let count = Option::<u32>::read(body, key)?;
    if count == Some(0) { Err(body.unfit("0")) } else { Ok(count.unwrap_or_default()) }
}
