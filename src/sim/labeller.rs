//! A print-and-apply labeller and the scanner behind it, for the simulated packer: two devices beside its controller.
//!
//! The labeller takes what a label printer takes (`config/maps/labeller-zpl.toml`): a format `^XA … ^FD<text>^FS … ^XZ` prints a label
//! (`_XX` stands for a byte, as behind `^FH_`), `! U1 setvar "device.user_p1" "<text>"` keeps a text, and `getvar` gives it back in
//! quotes, without an end of line. A printed label lies on the applicator, where the packer waits for it before its stroke.
//!
//! The scanner is never asked (`config/maps/scanner-label.toml`): it sends the label of each case once it is applied, `]C1` before it,
//! or `NOREAD`, and ends every line with CR LF.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::tags::TagImage;
use crate::domain::tag::{StationKind, Tag, TagValue};

const KIND: StationKind = StationKind::Packer;
const LINE_MAX: usize = 4096;
const RELEASE: i64 = 2;

/// Serves the labeller until its listener fails; dropping the future closes every connection.
pub async fn print(listener: TcpListener, image: Arc<TagImage>) -> io::Result<()> {
    let kept = Arc::new(Mutex::new(String::new()));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                let (image, kept) = (Arc::clone(&image), Arc::clone(&kept));
                connections.spawn(async move { take_orders(stream, &image, &kept).await });
            }
            // What became of a connection is the client's matter.
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn take_orders(stream: TcpStream, image: &TagImage, kept: &Mutex<String>) -> io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut reading = BufReader::new(reading);
    loop {
        let mut line = String::new();
        if reading.read_line(&mut line).await? == 0 || line.len() > LINE_MAX {
            return Ok(());
        }
        let line = line.trim_end();
        if let Some(label) = printed(line) {
            // The shape of the tag holds any label; what does not fit is not printed.
            let _ = image.write(vec![(KIND, Tag::Label, TagValue::Bytes(label))]);
        } else if let Some(text) = line.strip_prefix(r#"! U1 setvar "device.user_p1" ""#) {
            *lock(kept) = text.trim_end_matches('"').to_owned();
        } else if line == r#"! U1 getvar "device.user_p1""# {
            let answer = format!("\"{}\"", lock(kept));
            writing.write_all(answer.as_bytes()).await?;
        }
    }
}

fn lock(kept: &Mutex<String>) -> std::sync::MutexGuard<'_, String> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The text of the label that a format prints.
fn printed(line: &str) -> Option<Vec<u8>> {
    let (_, behind) = line.strip_prefix("^XA")?.split_once("^FD")?;
    let (text, _) = behind.split_once("^FS")?;
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'_' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    Some(bytes)
}

/// Serves the scanner until its listener fails; dropping the future closes every connection.
pub async fn scan(listener: TcpListener, image: Arc<TagImage>) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                let image = Arc::clone(&image);
                connections.spawn(async move { send_scans(stream, &image).await });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One line for each label that is applied from now on.
async fn send_scans(mut stream: TcpStream, image: &TagImage) -> io::Result<()> {
    let mut changes = image.changes();
    let applied = || {
        image.read(|tags| {
            let label = tags.bytes(KIND, Tag::LabelRead).to_vec();
            (tags.int(KIND, Tag::Epoch), tags.int(KIND, Tag::Seq), tags.int(KIND, Tag::Request), label)
        })
    };
    let (mut epoch, mut seq, ..) = applied();
    loop {
        let (now_epoch, now_seq, request, label) = applied();
        if (now_epoch, now_seq) != (epoch, seq) {
            (epoch, seq) = (now_epoch, now_seq);
            if request == RELEASE {
                let line =
                    if label.is_empty() { b"NOREAD\r\n".to_vec() } else { [b"]C1", &label[..], b"\r\n"].concat() };
                stream.write_all(&line).await?;
            }
        }
        if changes.changed().await.is_err() {
            return Ok(());
        }
    }
}
