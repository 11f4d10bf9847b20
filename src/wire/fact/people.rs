//! How the types of people stand in a body.

use crate::engine::clearance::ItemAnswer;
use crate::engine::people::{Door, Phc, Role, Roles, SessionEnd};
use crate::engine::signing::{Meaning, Signable};
use crate::wire::fact::field::{Field, word_fields};
use crate::wire::fact::json::{Flaw, ObjectReader, ObjectWriter};
use crate::wire::schema::{self, Shape};

/// A list of words, each once, in one order.
impl Field for Roles {
    fn write(&self, out: &mut ObjectWriter, key: &'static str) {
        out.texts(key, self.iter().map(Role::name));
    }

    fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
        let words = body.texts(key, Role::parse)?;
        let roles: Roles = words.iter().copied().collect();
        if roles.iter().eq(words) { Ok(roles) } else { Err(body.unfit("another order, or a role twice")) }
    }

    fn describe(shape: &mut Shape, key: &'static str) {
        shape.required(key, schema::list(schema::word(Role::ALL, |role| role.name())));
    }
}

impl Field for Phc {
    fn write(&self, out: &mut ObjectWriter, key: &'static str) {
        out.text(key, self.reveal());
    }

    fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
        let text = body.text(key)?;
        // What stands there is told to nobody, not even in an error.
        Phc::new(&text).ok_or_else(|| body.unfit("a hash"))
    }

    fn describe(shape: &mut Shape, key: &'static str) {
        shape.required(key, schema::text_of_at_most(128));
    }
}

word_fields!(Door SessionEnd Meaning Signable ItemAnswer);
