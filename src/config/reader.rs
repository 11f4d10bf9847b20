//! A typed walk over a TOML document that knows where everything stands. It records each problem and goes on, so that one run
//! shows all of them. Every key that is asked for is known; a key that nobody asked for is an error of its own.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::Path;
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::problem::{Place, Problem, Problems, join};

/// One opened file.
pub(super) struct Source {
    pub(super) name: Rc<str>,
    pub(super) text: String,
    pub(super) problems: Problems,
    /// Every key that was asked for, whether it is there or not.
    pub(super) asked: RefCell<Vec<Asked>>,
}

/// What the reader wanted of one key. The reader's own questions are the only description of the configuration that there is.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The table, as it is called in messages; empty for the file itself.
    pub(super) table: String,
    pub(super) key: String,
    pub(super) form: Form,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Flag,
    Integer(RangeInclusive<i64>),
    Words(Vec<&'static str>),
    IntegerOrWords(RangeInclusive<i64>, Vec<&'static str>),
    Texts,
    Table,
    /// Tables with names of the operator's choice.
    Named,
    Tables,
    /// It must be there.
    Required,
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Field<T> {
    pub(super) value: T,
    pub(super) at: Place,
}

/// One table of the document.
pub(super) struct Section<'a> {
    source: &'a Source,
    table: &'a DeTable<'a>,
    pub(super) at: Place,
    asked: Vec<&'static str>,
}

/// As the TOML library says it.
const DUPLICATE: &str = "duplicate key";

/// Why a file gave no text.
pub(super) enum Unread {
    File(std::io::Error),
    NotText(Box<Problem>),
}

/// A whole file.
pub(super) fn text_of(path: &Path) -> Result<String, Unread> {
    let bytes = std::fs::read(path).map_err(Unread::File)?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = good.filter(|byte| **byte == b'\n').count() + 1;
        let place = Place { line, ..Place::file(&path.display().to_string()) };
        let problem = place.error("holds bytes that are no text in UTF-8").allowed("a text file in UTF-8");
        Unread::NotText(Box::new(problem.hint("save it again with the encoding UTF-8")))
    })
}

impl Source {
    pub(super) fn new(name: &str, text: String, problems: &Problems) -> Self {
        Self { name: name.into(), text, problems: problems.clone(), asked: RefCell::default() }
    }

    /// Parses the text; syntax errors are recorded. `None` where there are any, since what follows from a broken document misleads.
    pub(super) fn parse(&self) -> Option<Spanned<DeTable<'_>>> {
        let written = self.text.trim_start();
        if written.starts_with('{') {
            let place = Place { line: self.line(self.text.len() - written.len()), ..Place::file(&self.name) };
            let allowed = "sections and keys, as in config/line.example.toml: [line], then name = \"line3\"";
            self.problems.add(place.error("is JSON, and has to be TOML").allowed(allowed));
            return None;
        }
        let (document, errors) = DeTable::parse_recoverable(&self.text);
        let mut is_repeated = false;
        for error in &errors {
            let line = error.span().map_or(0, |span| self.line(span.start));
            let place = Place { line, ..Place::file(&self.name) };
            let problem = match self.first_of(line).filter(|_| error.message() == DUPLICATE) {
                Some((name, first)) => {
                    is_repeated = true;
                    place
                        .error(format!("says {name} a second time; the first is on line {first}"))
                        .allowed("every section and every key once: put what belongs together in one place")
                }
                // The keys of a section that was told already.
                None if is_repeated && error.message() == DUPLICATE => continue,
                None => place.error(format!("is not valid TOML: {}", error.message().replace('\n', "; "))),
            };
            self.problems.add(problem);
        }
        errors.is_empty().then_some(document)
    }

    /// The section or key that `line` writes, and the line above it that does so too.
    fn first_of(&self, line: usize) -> Option<(&str, usize)> {
        let name = |text: &str| text.find(if text.starts_with('[') { ']' } else { '=' }).unwrap_or(0);
        let written = self.text.lines().nth(line.checked_sub(1)?)?.trim();
        let own = written.get(..name(written))?.trim();
        let is_section = own.starts_with('[');
        let above = self.text.lines().zip(1..).take(line - 1).collect::<Vec<_>>();
        // A key stands once in its own section.
        let reach = above.into_iter().rev().take_while(|(text, _)| is_section || !text.trim_start().starts_with('['));
        let found =
            reach.filter(|(text, _)| text.trim().get(..name(text.trim())).is_some_and(|other| other.trim() == own));
        let first = found.last()?.1;
        Some((if is_section { written.get(..=name(written))? } else { own }, first))
    }

    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        before.filter(|byte| **byte == b'\n').count() + 1
    }

    fn place(&self, offset: usize, key: String, value: String) -> Place {
        Place { file: self.name.clone(), line: self.line(offset), key, value }
    }
}

impl<T> Field<T> {
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Field<U> {
        Field { value: change(self.value), at: self.at }
    }
}

impl<'a> Section<'a> {
    pub(super) fn root(source: &'a Source, document: &'a Spanned<DeTable<'a>>) -> Self {
        Self { source, table: document.get_ref(), at: Place::file(&source.name), asked: Vec::new() }
    }

    pub(super) fn problems(&self) -> &Problems {
        &self.source.problems
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<Field<String>> {
        self.note(key, Form::Text);
        self.plain_text(key)
    }

    fn note(&self, key: &str, form: Form) {
        let asked = Asked { table: self.at.key.clone(), key: key.to_owned(), form };
        self.source.asked.borrow_mut().push(asked);
    }

    fn plain_text(&mut self, key: &'static str) -> Option<Field<String>> {
        let (value, at) = self.get(key)?;
        let DeValue::String(text) = value else {
            return self.wrong_type(&at, value, "a text in quotes");
        };
        Some(Field { value: text.to_string(), at })
    }

    /// A text that must not be empty.
    pub(super) fn filled(&mut self, key: &'static str) -> Option<Field<String>> {
        let field = self.text(key)?;
        if field.value.trim().is_empty() {
            self.source.problems.add(field.at.error("is empty"));
            return None;
        }
        Some(field)
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str) -> Option<Field<bool>> {
        self.note(key, Form::Flag);
        let (value, at) = self.get(key)?;
        let DeValue::Boolean(flag) = value else {
            return self.wrong_type(&at, value, "true or false");
        };
        Some(Field { value: *flag, at })
    }

    pub(super) fn integer(&mut self, key: &'static str, range: RangeInclusive<i64>) -> Option<Field<i64>> {
        self.note(key, Form::Integer(range.clone()));
        let (value, at) = self.get(key)?;
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        let DeValue::Integer(digits) = value else {
            return self.wrong_type(&at, value, &allowed);
        };
        let number = i64::from_str_radix(&digits.as_str().replace('_', ""), digits.radix()).ok();
        match number.filter(|number| range.contains(number)) {
            Some(value) => Some(Field { value, at }),
            None => {
                self.source.problems.add(at.error("is out of range").allowed(allowed));
                None
            }
        }
    }

    /// An integer as the unsigned type that the range fits into.
    pub(super) fn number<T: TryFrom<i64>>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<i64>,
    ) -> Option<Field<T>> {
        let field = self.integer(key, range)?;
        let value = T::try_from(field.value).ok()?;
        Some(Field { value, at: field.at })
    }

    /// A text that must be one of `words`.
    pub(super) fn word<T: Clone>(&mut self, key: &'static str, words: &[(&'static str, T)]) -> Option<Field<T>> {
        self.note(key, Form::Words(words.iter().map(|(word, _)| *word).collect()));
        let field = self.plain_text(key)?;
        match words.iter().find(|(word, _)| *word == field.value) {
            Some((_, meaning)) => Some(field.map(|_| meaning.clone())),
            None => {
                let known = words.iter().map(|(word, _)| *word);
                let problem = field.at.error("is not known").allowed(one_of(known.clone()));
                self.source.problems.add(problem.meant(&field.value, known));
                None
            }
        }
    }

    /// One of a few numbers, or one of a few words.
    pub(super) fn number_or_word<T: Copy>(
        &mut self,
        key: &'static str,
        numbers: &[(i64, T)],
        words: &[(&'static str, T)],
    ) -> Option<Field<T>> {
        let range = numbers.first()?.0..=numbers.last()?.0;
        self.note(key, Form::IntegerOrWords(range, words.iter().map(|(word, _)| *word).collect()));
        if let Some((DeValue::String(_), _)) = self.get(key) {
            return self.word(key, words);
        }
        let first = numbers.first()?.0;
        let field = self.integer(key, first..=numbers.last()?.0)?;
        let (_, meaning) = numbers.iter().find(|(number, _)| *number == field.value)?;
        Some(field.map(|_| *meaning))
    }

    pub(super) fn texts(&mut self, key: &'static str) -> Option<Field<Vec<Field<String>>>> {
        self.note(key, Form::Texts);
        let (value, at) = self.get(key)?;
        let allowed = "a list of texts: [\"a\", \"b\"]";
        let DeValue::Array(items) = value else {
            return self.wrong_type(&at, value, allowed);
        };
        let mut texts = Vec::new();
        for item in items {
            let place = self.item_place(&at, item);
            let DeValue::String(text) = item.get_ref() else {
                return self.wrong_type(&place, item.get_ref(), allowed);
            };
            texts.push(Field { value: text.to_string(), at: place });
        }
        Some(Field { value: texts, at })
    }

    pub(super) fn section(&mut self, key: &'static str) -> Option<Section<'a>> {
        self.note(key, Form::Table);
        self.table(key)
    }

    fn table(&mut self, key: &'static str) -> Option<Section<'a>> {
        let (value, at) = self.get(key)?;
        let DeValue::Table(table) = value else {
            let allowed = format!("a section: [{}]", at.key);
            return self.wrong_type(&at, value, &allowed);
        };
        Some(self.child(table, at))
    }

    /// The tables below `key`, by name, in the order of the file.
    pub(super) fn named(&mut self, key: &'static str) -> Vec<(Field<String>, Section<'a>)> {
        self.note(key, Form::Named);
        self.table(key).map(|group| group.children()).unwrap_or_default()
    }

    /// Every table below this one, by name, in the order of the file; what is no table is an error.
    pub(super) fn children(&self) -> Vec<(Field<String>, Section<'a>)> {
        let mut found = Vec::new();
        for (name, value) in in_order(self.table) {
            if self.asked.contains(&name.get_ref().as_ref()) {
                continue;
            }
            let at = self.key_place(name, value);
            if let DeValue::Table(table) = value.get_ref() {
                let name = Field { value: name.get_ref().to_string(), at: at.clone() };
                found.push((name, self.child(table, at)));
            } else if self.asked.is_empty() {
                let allowed = format!("a section: [{}]", at.key);
                let _: Option<()> = self.wrong_type(&at, value.get_ref(), &allowed);
            } else {
                self.unknown(name.get_ref(), at.error("is an unknown key"));
            }
        }
        found
    }

    /// A list of inline tables.
    pub(super) fn list(&mut self, key: &'static str) -> Option<Field<Vec<Section<'a>>>> {
        self.note(key, Form::Tables);
        let (value, at) = self.get(key)?;
        let allowed = "a list of tables: [{ .. }, { .. }]";
        let DeValue::Array(items) = value else {
            return self.wrong_type(&at, value, allowed);
        };
        let mut sections = Vec::new();
        for item in items {
            let place = self.item_place(&at, item);
            let DeValue::Table(table) = item.get_ref() else {
                return self.wrong_type(&place, item.get_ref(), allowed);
            };
            sections.push(self.child(table, place));
        }
        Some(Field { value: sections, at })
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Records that a key which must be there is not.
    pub(super) fn missing<T>(&self, key: &str, allowed: &str) -> Option<T> {
        self.note(key, Form::Required);
        if !self.has(key) {
            self.source.problems.add(self.at.missing(key, allowed));
        }
        None
    }

    /// Everything that was written and never asked for is an error, with a guess at what was meant.
    pub(super) fn finish(self) {
        for (name, value) in in_order(self.table) {
            let key = name.get_ref().as_ref();
            if self.asked.contains(&key) {
                continue;
            }
            let place = Place { value: String::new(), ..self.key_place(name, value) };
            let section = matches!(value.get_ref(), DeValue::Table(_));
            let kind = if section { "is an unknown section" } else { "is an unknown key" };
            self.unknown(key, place.error(kind));
        }
    }

    fn unknown(&self, key: &str, problem: Problem) {
        let problem = problem.allowed(self.asked.join(", "));
        self.source.problems.add(problem.meant(key, self.asked.iter().copied()));
    }

    fn get(&mut self, key: &'static str) -> Option<(&'a DeValue<'a>, Place)> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        let (name, value) = self.table.get_key_value(key)?;
        Some((value.get_ref(), self.key_place(name, value)))
    }

    fn child(&self, table: &'a DeTable<'a>, at: Place) -> Section<'a> {
        Section { source: self.source, table, at, asked: Vec::new() }
    }

    fn key_place(&self, name: &Spanned<DeString<'_>>, value: &Spanned<DeValue<'_>>) -> Place {
        let key = join(&self.at.key, name.get_ref());
        self.source.place(name.span().start, key, written(value.get_ref()))
    }

    fn item_place(&self, list: &Place, item: &Spanned<DeValue<'_>>) -> Place {
        let value = written(item.get_ref());
        self.source.place(item.span().start, list.key.clone(), value)
    }

    fn wrong_type<T>(&self, at: &Place, found: &DeValue<'_>, allowed: &str) -> Option<T> {
        let says = format!("is of the wrong type ({})", found.type_str());
        self.source.problems.add(at.error(says).allowed(allowed));
        None
    }
}

/// TOML tables come sorted by key; people think in lines.
fn in_order<'a>(table: &'a DeTable<'a>) -> Vec<(&'a Spanned<DeString<'a>>, &'a Spanned<DeValue<'a>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

/// A value as it may be shown: short, on one line.
fn written(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{:?}", text.chars().take(60).collect::<String>()),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) | DeValue::Table(_) => String::new(),
    }
}

pub(super) fn one_of<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    let quoted: Vec<String> = words.into_iter().map(|word| format!("\"{word}\"")).collect();
    quoted.join(", ")
}
