//! One unit at its address: blocks read and written, exceptions understood.
//!
//! | exception | here |
//! |---|---|
//! | 1, 2, 3 | a mistake of the map: the block is bad, and left alone for a while |
//! | 4, 7, 8 and unknown ones | the block is bad |
//! | 5, 6 | busy: asked again a few times, then bad |
//! | 10, 11 | the gateway cannot reach the unit: the device is away |
//!
//! Any other trouble ends the session.

use std::collections::HashMap;

use tokio::time::{Duration, Instant, sleep};

use super::{
    circuit::Circuit,
    frame::{Answer, Block, Question},
    write::Allowed,
};
use crate::device::{error::DeviceError, settings::ModbusLink};

/// A busy device (exceptions 5 and 6) is asked this often in all.
const BUSY_TRIES: usize = 3;
const BUSY_WAIT: Duration = Duration::from_millis(10);
/// Exceptions 1 to 3 are mistakes of the map: such a block is left alone for this long (F60, no storm).
const MUTE: Duration = Duration::from_secs(1);

pub(super) struct Peer {
    circuit: Circuit,
    muted: HashMap<Block, (Instant, u8)>,
}

impl Peer {
    pub(super) async fn open(link: &ModbusLink, limit: Duration) -> Self {
        Self { circuit: Circuit::open(link, limit).await, muted: HashMap::new() }
    }

    /// Everything could be read once.
    pub(super) fn is_there(&mut self) {
        self.circuit.close();
    }

    /// The cells, or the device's exception code.
    pub(super) async fn read(&mut self, block: Block) -> Result<Result<Vec<u16>, u8>, DeviceError> {
        if let Some((until, code)) = self.muted.get(&block)
            && Instant::now() < *until
        {
            return Ok(Err(*code));
        }
        match self.ask("a read", Question::Read(block)).await? {
            Answer::Exception(code) => {
                if is_mistake(code) {
                    self.muted.insert(block, (Instant::now() + MUTE, code));
                }
                Ok(Err(code))
            }
            Answer::Cells(cells) => {
                self.muted.remove(&block);
                Ok(Ok(cells))
            }
            Answer::Written => Err(DeviceError::Protocol("a write was confirmed where a read was asked".to_owned())),
        }
    }

    /// Done, or the device's exception code.
    pub(super) async fn write(&mut self, request: &Allowed) -> Result<Result<(), u8>, DeviceError> {
        match self.ask("a write", Question::Write(request)).await? {
            Answer::Exception(code) => Ok(Err(code)),
            Answer::Written => Ok(Ok(())),
            Answer::Cells(_) => Err(DeviceError::Protocol("values came where a write was asked".to_owned())),
        }
    }

    /// Asks, and asks a busy device a few times more: reads change nothing, and writes are levels.
    async fn ask(&mut self, what: &'static str, question: Question<'_>) -> Result<Answer, DeviceError> {
        for _ in 1..BUSY_TRIES {
            match self.once(what, question).await? {
                Answer::Exception(5 | 6) => sleep(BUSY_WAIT).await,
                answer => return Ok(answer),
            }
        }
        self.once(what, question).await
    }

    async fn once(&mut self, what: &'static str, question: Question<'_>) -> Result<Answer, DeviceError> {
        match self.circuit.ask(what, question).await? {
            Answer::Exception(code @ (10 | 11)) => {
                self.circuit.suspect();
                Err(DeviceError::Away(code))
            }
            answer => Ok(answer),
        }
    }
}

/// What only a person can mend, in the map or at the device.
pub(super) fn is_mistake(code: u8) -> bool {
    (1..=3).contains(&code)
}
