//! The word that somebody meant who mistyped another.

/// The closest of `words`, where at most a third of its characters differ.
pub(crate) fn nearest<'w>(typed: &str, words: &[&'w str]) -> Option<&'w str> {
    let short: String = typed.chars().take(40).collect::<String>().to_lowercase();
    let (distance, word) = words.iter().map(|word| (distance(&short, word), *word)).min()?;
    let bound = word.chars().count().div_ceil(3);
    Some(word).filter(|_| distance <= bound)
}

/// Levenshtein distance, row by row.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (line, left) in from.chars().enumerate() {
        let mut diagonal = line;
        let mut before = line.saturating_add(1);
        if let Some(first) = row.first_mut() {
            *first = before;
        }
        for (cell, right) in row.iter_mut().skip(1).zip(to.chars()) {
            let replaced = diagonal.saturating_add(usize::from(left != right));
            diagonal = *cell;
            let moved = before.min(*cell).saturating_add(1);
            *cell = replaced.min(moved);
            before = *cell;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_word_that_was_meant_and_invents_none() {
        let words = ["batch", "gtin", "lot", "expiry", "gcp_length", "serials"];
        assert_eq!(nearest("expirey", &words), Some("expiry"));
        assert_eq!(nearest("GTIN", &words), Some("gtin"));
        assert_eq!(nearest("gcp-length", &words), Some("gcp_length"));
        assert_eq!(nearest("colour", &words), None);
        assert_eq!(nearest("", &[]), None);
    }

    #[test]
    fn measures_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
    }
}
