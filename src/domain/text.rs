//! Short texts held in place: identifiers never become numbers and never touch the heap.

use std::fmt;

/// A text of at most `N` bytes (N ≤ 255), valid UTF-8, stored inline; compared as text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize> {
    len: u8,
    bytes: [u8; N],
}

/// The name of a station or a device as the config writes it.
pub type Name = Text<24>;
/// The identifier of a production order.
pub type BatchId = Text<32>;

impl<const N: usize> Text<N> {
    /// Takes `text` where it fits; `None` where it is longer than `N` bytes.
    pub fn new(text: &str) -> Option<Self> {
        let len = u8::try_from(text.len()).ok()?;
        let mut bytes = [0; N];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self { len, bytes })
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// UTF-8 orders as its bytes do, so that comparing needs no look at the characters.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self { len: 0, bytes: [0; N] }
    }
}

impl<const N: usize> PartialOrd for Text<N> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<const N: usize> Ord for Text<N> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl<const N: usize> std::hash::Hash for Text<N> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_leading_zeros_and_refuses_what_does_not_fit() {
        assert_eq!(Text::<4>::new("0012").map(|t| t.as_str().to_owned()), Some("0012".into()));
        assert_eq!(Text::<4>::new("00123"), None);
    }

    #[test]
    fn orders_as_text() {
        assert!(Text::<8>::new("10") < Text::<8>::new("9"));
    }
}
