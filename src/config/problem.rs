//! What is wrong with a configuration, in words that a technician can act on: file, line, key, the value as written, what is
//! wrong, what is allowed, and what was probably meant.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

/// How much a problem weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The daemon does not start.
    Error,
    /// It starts, and somebody should look.
    Warning,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    /// As it was opened, or as the configuration names it.
    pub file: String,
    /// Counted from 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// Full path of the key, for example `device.camera.poll_ms`; empty for the file as a whole.
    pub key: String,
    /// As written; empty where nothing is written.
    pub value: String,
    pub says: String,
    /// What would be right; empty where `says` tells it.
    pub allowed: String,
    /// A suggestion; empty where there is none.
    pub hint: String,
}

/// Where a key or a section stands, with what is written there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: Rc<str>,
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) value: String,
}

impl Place {
    /// A whole file.
    pub(super) fn file(name: &str) -> Self {
        Self { file: name.into(), line: 0, key: String::new(), value: String::new() }
    }

    pub(super) fn error(&self, says: impl Into<String>) -> Problem {
        Problem {
            severity: Severity::Error,
            file: self.file.to_string(),
            line: self.line,
            key: self.key.clone(),
            value: self.value.clone(),
            says: says.into(),
            allowed: String::new(),
            hint: String::new(),
        }
    }

    pub(super) fn warning(&self, says: impl Into<String>) -> Problem {
        Problem { severity: Severity::Warning, ..self.error(says) }
    }

    /// The same place, for a key below it that is not written.
    pub(super) fn missing(&self, key: &str, allowed: &str) -> Problem {
        let place = Place { key: join(&self.key, key), value: String::new(), ..self.clone() };
        place.error("is missing").allowed(allowed)
    }
}

impl Problem {
    pub(super) fn allowed(mut self, allowed: impl Into<String>) -> Self {
        self.allowed = allowed.into();
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Suggests the word of `known` that `written` was probably meant to be.
    pub(super) fn meant<'a>(self, written: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(written, known) {
            Some(word) => self.hint(format!("did you mean `{word}`?")),
            None => self,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": ")?;
        if !self.key.is_empty() {
            write!(f, "{} ", self.key)?;
        }
        if !self.value.is_empty() {
            write!(f, "= {} ", self.value)?;
        }
        write!(f, "{}", self.says)?;
        if !self.allowed.is_empty() {
            write!(f, "; allowed: {}", self.allowed)?;
        }
        if !self.hint.is_empty() {
            write!(f, "\n    hint: {}", self.hint)?;
        }
        Ok(())
    }
}

/// Collects the problems of one load, from the line file and from its maps.
#[derive(Clone, Debug, Default)]
pub(super) struct Problems(Rc<RefCell<Vec<Problem>>>);

impl Problems {
    pub(super) fn add(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    /// All that was found, in the order of files and lines, each once.
    pub(super) fn sorted(&self) -> Vec<Problem> {
        let mut all = self.0.take();
        all.sort_by(|a, b| (a.severity, &a.file, a.line, &a.key).cmp(&(b.severity, &b.file, b.line, &b.key)));
        all.dedup();
        all
    }
}

pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The known word at the smallest edit distance, where that is small against the length of what was written.
pub(super) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = written.chars().count();
    let reach = if length < 4 { 1 } else { (length / 3).max(2) };
    known
        .into_iter()
        .map(|word| (distance(written, word), word))
        .filter(|(far, _)| (1..=reach).contains(far))
        .min()
        .map(|(_, word)| word)
}

/// Edit distance with insert, delete, replace and swap of neighbours (optimal string alignment): a swap is one slip of the hand.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for (i, left) in a.iter().enumerate() {
        let above = &rows[i];
        let mut row = vec![i + 1];
        for (j, right) in b.iter().enumerate() {
            let replaced = above[j] + usize::from(left != right);
            let mut best = replaced.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *right && *left == b[j - 1] {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_of_neighbours_is_one_slip() {
        assert_eq!(distance("pol_lms", "poll_ms"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn suggests_the_nearest_word_and_nothing_far_away() {
        let known = ["poll_ms", "protocol", "port"];
        assert_eq!(nearest("pol_ms", known), Some("poll_ms"));
        assert_eq!(nearest("prot", known), Some("port"));
        assert_eq!(nearest("xy", ["ab"]), None);
        assert_eq!(nearest("camera_brightness", known), None);
    }
}
