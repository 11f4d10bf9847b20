//! Checkpoints: signed statements of how far a journal reached, from which anyone can prove its facts and see a cut tail.
//!
//! A checkpoint is a signed note (C2SP `signed-note`): lines of text, an empty line, and the signature's line.
//!
//! ```text
//! sealgate-checkpoint/v1
//! line=acme/plant7/packaging/line3
//! store=3f1c4e0a-5b6d-4c7e-8f90-a1b2c3d4e5f6 epoch=1
//! seq=48211 checkpoint=483               the 483rd row of v_checkpoint, counted from 1 in the order of seq
//! head=sha256:9b1d…                      hash(48211) of the chain (`wire::chain`), 64 lower-case digits
//! time=2026-11-22T08:15:02.114Z boot=7   at_us of fact 48211, cut to milliseconds; its boot
//!
//! — acme/plant7/packaging/line3 GiscTa…
//! ```
//!
//! - What is signed is everything before the empty line, with the line feed that ends its last line; UTF-8, `\n` alone.
//! - The signature's line is U+2014, a space, the line of `v_meta`, a space, and base64 of four bytes of key id and 64 bytes
//!   of Ed25519 signature (RFC 8032).
//! - `key id = SHA-256( line | "\n" | 0x01 | public key )`, its first four bytes; eight lower-case digits where it stands as
//!   text.
//! - A public key is one line `line+key id+base64( 0x01 | public key )`. A file may hold several, one a line; `#` begins a
//!   comment.
//! - `v_checkpoint` holds the seq, head_hash, key_id and signature of the checkpoints that a journal made. The note is made
//!   again from these, from `v_fact` and `v_meta`. The epoch of a fact is that of the newest `epoch_raised` fact up to and
//!   with it, and 1 before the first; `v_meta` has the newest.
//! - The first key of a journal stands in its first `key_announced` fact. Each later one is signed by the one before it: fields
//!   `replaces` (key id) and `signature` (base64), over the text
//!   `sealgate-key/v1\nline=…\nkey_id=…\npublic_key=…\n` with the new key's id and base64 public key (32 bytes, no 0x01).
//! - On the feed, and in each line of the side file, a checkpoint is a JSON object whose `note` is the whole note.
//!
//! `tests/foreign/verify_proof.py` is written from this page and from `wire::chain` alone. What a verifier must check: the
//! chain; each checkpoint's head against the chain; each signature against a key that is trusted or was announced by a chain of
//! keys from one; that the newest `messages_expired` fact is covered by a checkpoint, since each is signed with its messages; and notes
//! kept elsewhere, whose numbers must not lie beyond the journal's end.
//!
//! Not here: when a checkpoint is due (`store`), where keys lie (`runtime`).

pub mod history;
mod note;

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

pub use note::{Head, Note, NoteError, notes_in, seq_of};

/// Ed25519 among the algorithms of a signed note.
const ALGORITHM: u8 = 1;

/// A key that signs for one line.
pub struct Key {
    line: String,
    secret: SigningKey,
}

/// A key that is believed for one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    line: String,
    key: VerifyingKey,
}

/// The public keys that are believed, by their ids.
#[derive(Clone, Debug, Default)]
pub struct KeyRing(BTreeMap<String, PublicKey>);

/// Why a text is no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError {
    what: &'static str,
}

impl Key {
    /// From 32 random bytes.
    pub fn new(line: &str, seed: &[u8; 32]) -> Self {
        Self { line: line.to_owned(), secret: SigningKey::from_bytes(seed) }
    }

    /// `PRIVATE+KEY+line+id+base64`, as `to_text` writes it.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let rest = text.trim().strip_prefix("PRIVATE+KEY+").ok_or(KeyError { what: "it is no private key" })?;
        let (line, id, bytes) = split(rest)?;
        let key = Self::new(line, &bytes);
        if key.id() != id {
            return Err(KeyError { what: "its id is another key's" });
        }
        Ok(key)
    }

    /// The secret in one line, for a file that nobody else may read.
    pub fn to_text(&self) -> String {
        format!("PRIVATE+KEY+{}+{}+{}", self.line, self.id(), tagged(&self.secret.to_bytes()))
    }

    pub fn line(&self) -> &str {
        &self.line
    }

    pub fn id(&self) -> String {
        self.public().id()
    }

    pub fn public(&self) -> PublicKey {
        PublicKey { line: self.line.clone(), key: self.secret.verifying_key() }
    }

    pub fn sign(&self, text: &str) -> [u8; 64] {
        self.secret.sign(text.as_bytes()).to_bytes()
    }

    /// The signature over a key that takes this one's place, in base64.
    pub fn introduce(&self, next: &PublicKey) -> String {
        BASE64.encode(self.sign(&next.introduction()))
    }
}

impl PublicKey {
    /// `line+id+base64`.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (line, id, bytes) = split(text.trim())?;
        let key = Self::of_bytes(line, &bytes)?;
        if key.id() != id {
            return Err(KeyError { what: "its id is another key's" });
        }
        Ok(key)
    }

    /// The key of `line` as `key_announced` holds it.
    pub fn of_base64(line: &str, text: &str) -> Result<Self, KeyError> {
        let bytes = BASE64.decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        Self::of_bytes(line, &bytes.ok_or(KeyError { what: "it is not 32 bytes in base64" })?)
    }

    fn of_bytes(line: &str, bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError { what: "it is no point of the curve" })?;
        Ok(Self { line: line.to_owned(), key })
    }

    pub fn to_text(&self) -> String {
        format!("{}+{}+{}", self.line, self.id(), tagged(self.key.as_bytes()))
    }

    pub fn to_base64(&self) -> String {
        BASE64.encode(self.key.as_bytes())
    }

    pub fn id(&self) -> String {
        let mut sha = Sha256::new_with_prefix(self.line.as_bytes());
        sha.update(b"\n");
        sha.update([ALGORITHM]);
        sha.update(self.key.as_bytes());
        hex(&sha.finalize()).chars().take(8).collect()
    }

    pub fn line(&self) -> &str {
        &self.line
    }

    /// Strict: one signature, one form of it, no weak keys (RFC 8032 5.1.7 with the checks of `verify_strict`).
    pub fn has_signed(&self, text: &str, signature: &[u8; 64]) -> bool {
        self.key.verify_strict(text.as_bytes(), &Signature::from_bytes(signature)).is_ok()
    }

    fn introduction(&self) -> String {
        format!("sealgate-key/v1\nline={}\nkey_id={}\npublic_key={}\n", self.line, self.id(), self.to_base64())
    }
}

impl KeyRing {
    /// A file of public keys.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys = lines.map(PublicKey::parse).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(KeyError { what: "there is no key in it" });
        }
        Ok(keys.into_iter().collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, id: &str) -> Option<&PublicKey> {
        self.0.get(id)
    }

    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn add(&mut self, key: PublicKey) {
        self.0.insert(key.id(), key);
    }

    /// Takes a key whose announcement one of these has signed; `false` where none has.
    pub fn add_introduced(&mut self, key: PublicKey, by: &str, signature: &str) -> bool {
        let bytes = BASE64.decode(signature).ok().and_then(|bytes| <[u8; 64]>::try_from(bytes).ok());
        let is_known = bytes.is_some_and(|bytes| {
            self.get(by).is_some_and(|old| old.line == key.line && old.has_signed(&key.introduction(), &bytes))
        });
        if is_known {
            self.add(key);
        }
        is_known
    }
}

impl FromIterator<PublicKey> for KeyRing {
    fn from_iter<I: IntoIterator<Item = PublicKey>>(keys: I) -> Self {
        Self(keys.into_iter().map(|key| (key.id(), key)).collect())
    }
}

/// `line+id+base64( 0x01 | 32 bytes )`. A line of the config holds no `+`, and base64 may.
fn split(text: &str) -> Result<(&str, &str, [u8; 32]), KeyError> {
    const FORM: KeyError = KeyError { what: "it is not line+id+base64" };
    let (line, rest) = text.split_once('+').ok_or(FORM)?;
    let (id, data) = rest.split_once('+').ok_or(FORM)?;
    let data = BASE64.decode(data).map_err(|_| KeyError { what: "its last part is no base64" })?;
    let (algorithm, bytes) = data.split_first().ok_or(FORM)?;
    let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| KeyError { what: "it is not 32 bytes long" })?;
    if *algorithm != ALGORITHM {
        return Err(KeyError { what: "it is no Ed25519 key" });
    }
    Ok((line, id, bytes))
}

fn tagged(bytes: &[u8; 32]) -> String {
    BASE64.encode([&[ALGORITHM][..], bytes].concat())
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

impl std::error::Error for KeyError {}

/// Never the secret.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("line", &self.line).field("id", &self.id()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "acme/line3";

    fn key(seed: u8) -> Key {
        Key::new(LINE, &[seed; 32])
    }

    #[test]
    fn signs_as_rfc_8032_does() {
        // RFC 8032 7.1, test 1: its secret, its public key, the empty message.
        let secret = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let seed: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&secret[2 * at..2 * at + 2], 16).unwrap()).collect();
        let key = Key::new(LINE, &seed.try_into().unwrap());
        assert_eq!(key.public().to_base64(), "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
        assert!(hex(&key.sign("")).starts_with("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555"));
        assert!(key.public().has_signed("", &key.sign("")));
    }

    #[test]
    fn keys_come_back_from_their_texts_and_nothing_else_passes_for_one() {
        let (secret, public) = (key(7).to_text(), key(7).public().to_text());
        assert_eq!(Key::parse(&secret).unwrap().to_text(), secret);
        assert_eq!(PublicKey::parse(&public).unwrap(), key(7).public());
        assert!(!format!("{:?}", key(7)).contains("BwcH"), "the secret is not shown");
        let id = key(7).id();
        for wrong in [
            "",
            "acme/line3",
            "acme/line3+00000000",
            &public.replace(LINE, "acme/line4"),
            &public.replace(&id, "00000000"),
            &public[..public.len() - 4],
            &public.replacen("+A", "+B", 1),
            &secret,
        ] {
            assert!(PublicKey::parse(wrong).is_err(), "{wrong}");
            assert!(Key::parse(wrong).is_err() || wrong == secret, "{wrong}");
        }
        assert!(KeyRing::parse("# none\n\n").is_err());
        assert_eq!(KeyRing::parse(&format!("# old\n{public}\n{}\n", key(8).public().to_text())).unwrap().0.len(), 2);
    }

    // F164
    #[test]
    fn a_new_key_is_believed_where_a_known_one_introduced_it() {
        let mut ring: KeyRing = [key(1).public()].into_iter().collect();
        let (second, third) = (key(2), key(3));
        assert!(!ring.add_introduced(third.public(), &second.id(), &second.introduce(&third.public())));
        assert!(!ring.add_introduced(second.public(), &key(1).id(), &key(9).introduce(&second.public())));
        assert!(ring.add_introduced(second.public(), &key(1).id(), &key(1).introduce(&second.public())));
        assert!(!ring.add_introduced(third.public(), &second.id(), &second.introduce(&key(4).public())));
        assert!(ring.add_introduced(third.public(), &second.id(), &second.introduce(&third.public())));
        assert_eq!(ring.ids().count(), 3);
        let elsewhere = Key::new("acme/line4", &[5; 32]).public();
        assert!(!ring.add_introduced(elsewhere.clone(), &second.id(), &second.introduce(&elsewhere)));
    }
}
