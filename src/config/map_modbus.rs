//! What a tag map says about Modbus alone: how its addresses count, in which table a tag lies, and how a value is read and written
//! beyond its type.
//!
//! ```toml
//! addressing = "modicon"     # or 0 or "zero", 1 or "one": the number that this file gives the first register
//! [camera.overrun]
//! address = 10017            # modicon: the leading digit names the table; with 0 and 1 `table = "discrete"` does
//! type = "bool"
//! ```

use crate::device::{Address, Binding, ByteOrder, Signature, Table, ValueType, WordOrder};
use crate::domain::tag::Access;

use super::problem::Place;
use super::reader::{Field, Section};

/// How the map's addresses count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Addressing {
    /// From this number on, in the table that the tag names.
    From(i64),
    /// 1, 10001, 30001, 40001 are the first coil, discrete input, input and holding register; with six digits 100001 and so on.
    Modicon,
}

const NUMBERS: [(i64, Addressing); 2] = [(0, Addressing::From(0)), (1, Addressing::From(1))];
const WORDS: [(&str, Addressing); 3] =
    [("zero", Addressing::From(0)), ("one", Addressing::From(1)), ("modicon", Addressing::Modicon)];
const TABLES: [(&str, Table); 4] =
    [("holding", Table::Holding), ("input", Table::Input), ("coil", Table::Coil), ("discrete", Table::Discrete)];
/// The first and last number of each table in both notations; a five-digit table ends at 9999.
const MODICON: [(i64, i64, Table); 7] = [
    (1, 9_999, Table::Coil),
    (10_001, 19_999, Table::Discrete),
    (30_001, 39_999, Table::Input),
    (40_001, 49_999, Table::Holding),
    (100_001, 165_536, Table::Discrete),
    (300_001, 365_536, Table::Input),
    (400_001, 465_536, Table::Holding),
];

pub(super) const WORD_ORDERS: [(&str, WordOrder); 2] =
    [("high_first", WordOrder::HighFirst), ("low_first", WordOrder::LowFirst)];
pub(super) const BYTE_ORDERS: [(&str, ByteOrder); 2] =
    [("high_first", ByteOrder::HighFirst), ("low_first", ByteOrder::LowFirst)];

pub(super) fn addressing(root: &mut Section<'_>) -> Option<Addressing> {
    root.number_or_word("addressing", &NUMBERS, &WORDS).map(|field| field.value)
}

/// Where a register or bit lies; what is wrong is recorded.
pub(super) fn address(
    section: &mut Section<'_>,
    number: &Field<i64>,
    addressing: Option<Addressing>,
) -> Option<Address> {
    let table = section.word("table", &TABLES);
    match addressing {
        Some(Addressing::From(base)) => {
            counted(section, number, base, table.map_or(Table::Holding, |field| field.value))
        }
        Some(Addressing::Modicon) => modicon(section, number, table),
        None => {
            let place = Place { line: 0, key: "addressing".into(), value: String::new(), ..number.at.clone() };
            let problem = place.error("is missing, and the map has Modbus addresses");
            let allowed = "0 or 1, the number that this file gives the first register, or \"modicon\" (40001)";
            section.problems().add(problem.allowed(allowed));
            None
        }
    }
}

fn counted(section: &Section<'_>, number: &Field<i64>, base: i64, table: Table) -> Option<Address> {
    let at = number.value.checked_sub(base).and_then(|at| u16::try_from(at).ok());
    if at.is_none() {
        let allowed = format!("{base} to {}", base.saturating_add(65_535));
        section.problems().add(number.at.error("is no Modbus address").allowed(allowed));
    }
    at.map(|at| table.address(at))
}

fn modicon(section: &Section<'_>, number: &Field<i64>, stated: Option<Field<Table>>) -> Option<Address> {
    let found = MODICON.iter().find(|(first, last, _)| (*first..=*last).contains(&number.value));
    let at = found.and_then(|(first, _, table)| {
        let at = u16::try_from(number.value.checked_sub(*first)?).ok()?;
        Some((*table, at))
    });
    let Some((table, at)) = at else {
        let allowed =
            "1 to 9999 (coils), 10001 (discrete inputs), 30001 (input registers), 40001 (holding registers) and on";
        section.problems().add(number.at.error("is no address in the notation of the map").allowed(allowed));
        return None;
    };
    if let Some(stated) = stated.filter(|stated| stated.value != table) {
        section.problems().add(stated.at.error(format!("contradicts the address {}", number.value)));
    }
    Some(table.address(at))
}

/// `[signature]`: a number of the device that its maker documents, and that no other order of words and bytes shows.
pub(super) fn signature(mut section: Section<'_>, addressing: Option<Addressing>) -> Option<Field<Signature>> {
    let number = section.integer("address", 0..=465_536);
    let place = match &number {
        Some(number) => address(&mut section, number, addressing).and_then(|address| address.cell()),
        None => section.word("table", &TABLES).and(None),
    };
    let kind = section.word("type", &super::map::NUMBERS);
    let equals = section.integer("equals", i64::MIN..=i64::MAX);
    for (key, what) in [("address", "where it lies"), ("type", "its type"), ("equals", "the number that stands there")]
    {
        let _: Option<()> = section.missing(key, what);
    }
    let found = place.zip(kind).zip(equals).map(|(((table, start), kind), equals)| {
        let signature = Signature { table, start, number: kind.value, equals: equals.value };
        let problem = |says: &str, allowed: &str| section.problems().add(equals.at.error(says).allowed(allowed));
        if table.is_bits() {
            problem("is a number in a table of bits", "a holding or an input register");
        } else if !signature.fits() {
            problem("does not fit its type", "a number of that type");
        } else if !signature.tells_orders() {
            let allowed = "a number of which no two bytes are the same, for example 16909060 (0x01020304)";
            problem("reads the same in another order of words or bytes", allowed);
        }
        Field { value: signature, at: section.at.clone() }
    });
    section.finish();
    found
}

/// What a tag's section says beside address and type.
#[derive(Default)]
pub(super) struct Extras {
    word_order: Option<Field<WordOrder>>,
    bit: Option<Field<u8>>,
    terminator: Option<Field<u8>>,
    counted: Option<Field<bool>>,
    group: Option<Field<String>>,
    read_back: Option<Field<bool>>,
}

impl Extras {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            word_order: section.word("word_order", &WORD_ORDERS),
            bit: section.number("bit", 0..=15),
            terminator: section.text("terminator").and_then(|field| terminator(section, &field)),
            counted: section.flag("counted"),
            group: section.filled("group"),
            read_back: section.flag("read_back"),
        }
    }

    /// Puts them into the binding; what does not fit it is recorded.
    pub(super) fn apply(self, section: &Section<'_>, binding: &mut Binding) {
        let problem = |at: &Place, says: &str, allowed: &str| section.problems().add(at.error(says).allowed(allowed));
        if let Some((at, key)) = self.first().filter(|_| binding.address.cell().is_none()) {
            let says = format!("{key} belongs to Modbus");
            section.problems().add(at.error(says));
            return;
        }
        let is_text = matches!(binding.value, ValueType::Text { .. });
        let is_texts = matches!(binding.value, ValueType::Texts { .. });
        let written = binding.tag.access() == Access::Write;
        if let Some(bit) = &self.bit {
            if binding.value != ValueType::Bool || binding.address.cell().is_some_and(|(table, _)| table.is_bits()) {
                problem(&bit.at, "is a bit of what has no bits", "type = \"bool\" in a holding or input register");
            } else if written {
                problem(&bit.at, "would write the other bits of its register too", "a coil or a register of its own");
            }
        }
        if let Some(field) = self.terminator.as_ref().filter(|_| !is_text && !is_texts) {
            problem(&field.at, "ends a value that is no text", "type \"text\" or \"texts\"");
        }
        if let Some(field) =
            self.counted.as_ref().filter(|field| field.value && (!is_text || self.terminator.is_some()))
        {
            problem(
                &field.at,
                "counts the bytes of what is no text, or of one with a terminator",
                "type \"text\" alone",
            );
        }
        if let Some(field) = self.read_back.as_ref().filter(|field| field.value && !written) {
            problem(&field.at, "asks back for what is never written", "a tag that Sealgate writes");
        }
        if let Some(field) = self.group.as_ref().filter(|_| written) {
            problem(&field.at, "groups the reads of what is written", "a tag that the device owns");
        }
        binding.word_order = self.word_order.map(|field| field.value);
        binding.bit = self.bit.map(|field| field.value);
        binding.terminator = self.terminator.map(|field| field.value);
        binding.counted = self.counted.is_some_and(|field| field.value);
        binding.group = self.group.map(|field| field.value);
        binding.read_back = self.read_back.is_some_and(|field| field.value);
    }

    fn first(&self) -> Option<(&Place, &'static str)> {
        let word_order = self.word_order.as_ref().map(|field| (&field.at, "word_order"));
        let terminator = self.terminator.as_ref().map(|field| (&field.at, "terminator"));
        let counted = self.counted.as_ref().map(|field| (&field.at, "counted"));
        let group = self.group.as_ref().map(|field| (&field.at, "group"));
        let read_back = self.read_back.as_ref().map(|field| (&field.at, "read_back"));
        word_order.or(terminator).or(counted).or(group).or(read_back)
    }
}

fn terminator(section: &Section<'_>, field: &Field<String>) -> Option<Field<u8>> {
    match field.value.as_bytes() {
        [byte] if *byte != 0 => Some(Field { value: *byte, at: field.at.clone() }),
        _ => {
            let problem = field
                .at
                .error("is no terminator")
                .allowed("one ASCII character, for example \"\\r\"; NUL ends a text anyway");
            section.problems().add(problem);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::problem::Problems;
    use crate::config::{map, reader::Source};
    use crate::domain::tag::Tag;

    fn binding(head: &str, body: &str) -> Binding {
        let problems = Problems::default();
        let source = Source::new("m.toml", format!("{head}\n[packer.label_read]\n{body}\n"), &problems);
        let map = map::read(&source).expect("a map");
        assert_eq!(problems.sorted(), [], "{head} {body}");
        let kind = map.kinds.get("packer").expect("its section");
        let found = kind.tags.iter().find(|binding| binding.value.tag == Tag::LabelRead).expect("its tag");
        found.value.clone()
    }

    #[test]
    fn each_notation_leads_to_the_same_register() {
        let at = |head, address| binding(head, &format!("address = {address}\ntype = \"u16\"")).address;
        for (head, address) in [
            ("addressing = 0", 107),
            ("addressing = \"zero\"", 107),
            ("addressing = 1", 108),
            ("addressing = \"one\"", 108),
            ("addressing = \"modicon\"", 40_108),
            ("addressing = \"modicon\"", 400_108),
        ] {
            assert_eq!(at(head, address), Address::Register(107), "{head} {address}");
        }
        assert_eq!(at("addressing = \"modicon\"", 30_001), Address::Input(0));
        assert_eq!(at("addressing = \"modicon\"", 465_536), Address::Register(65_535));
    }

    #[test]
    fn bits_are_named_by_their_table_or_by_their_number() {
        let at = |head, body| binding(head, &format!("{body}\ntype = \"bool\"")).address;
        assert_eq!(at("addressing = 0", "address = 16\ntable = \"coil\""), Address::Coil(16));
        assert_eq!(at("addressing = 1", "address = 17\ntable = \"discrete\""), Address::Discrete(16));
        assert_eq!(at("addressing = \"modicon\"", "address = 17"), Address::Coil(16));
        assert_eq!(at("addressing = \"modicon\"", "address = 10017"), Address::Discrete(16));
    }

    #[test]
    fn what_stands_beside_the_type_reaches_the_binding() {
        let body = "address = 0\ntype = \"text\"\nlength = 20\nterminator = \"\\r\"\ngroup = \"label\"\nword_order = \"low_first\"";
        let found = binding("addressing = 0", body);
        assert_eq!((found.terminator, found.group.as_deref()), (Some(b'\r'), Some("label")));
        assert_eq!(found.word_order, Some(WordOrder::LowFirst));
        let counted = binding("addressing = 0", "address = 0\ntype = \"text\"\nlength = 20\ncounted = true");
        assert_eq!((counted.counted, counted.cells()), (true, 11));
        let bit = binding("addressing = 0", "address = 0\ntype = \"bool\"\nbit = 15");
        assert_eq!(bit.bit, Some(15));
    }
}
