//! Tags: the named, typed values that a station reads and writes. The list is the contract with the machine builder
//! (README, "Tags"); addresses, types and byte order are data of a tag map, never code.

use std::fmt;

/// A role on the line: its index in the configuration's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StationId(pub u8);

/// A network peer: its index in the configuration's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StationKind {
    Printer,
    Camera,
    Rejector,
    Packer,
    Palletizer,
}

/// How far a value can be trusted: OPC UA status severity or Modbus outcome. Only `Good` ever verifies anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quality {
    Good,
    /// The OPC UA status code.
    Uncertain(u32),
    /// The OPC UA status code, a Modbus exception code, or 0 where the value could not be decoded.
    Bad(u32),
}

/// A raw value. Texts are bytes as the device sent them, padding and terminator removed, nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagValue {
    Bool(bool),
    Int(i64),
    /// Thousandths: what a device gives as a float or a scaled integer.
    Milli(i64),
    Bytes(Vec<u8>),
    Ints(Vec<i64>),
    Millis(Vec<i64>),
    Texts(Vec<Vec<u8>>),
}

/// One tag as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    pub tag: Tag,
    pub value: TagValue,
    pub quality: Quality,
    /// The device's own time of the value, microseconds since 1970, where it gives one.
    pub source_us: Option<i64>,
}

/// One coherent read of a station's tags: the guard counter and the epoch were the same before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagUpdate {
    pub station: StationId,
    pub readings: Vec<Reading>,
    /// The server's time of the newest value, microseconds since 1970, where the protocol has one. Our own time is that of the
    /// turn that takes the update.
    pub server_us: Option<i64>,
}

/// Values to write to one station, in this order; in one request where the protocol allows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagWrite {
    pub station: StationId,
    pub values: Vec<(Tag, TagValue)>,
}

macro_rules! tags {
    ($($variant:ident $name:literal $access:ident),+ $(,)?) => {
        /// Every tag of the contract, by its name in tag maps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Tag { $($variant),+ }

        impl Tag {
            pub const ALL: &'static [Tag] = &[$(Tag::$variant),+];

            pub fn name(self) -> &'static str {
                match self { $(Tag::$variant => $name),+ }
            }

            pub fn access(self) -> Access {
                match self { $(Tag::$variant => Access::$access),+ }
            }

            pub fn parse(name: &str) -> Option<Tag> {
                Tag::ALL.iter().copied().find(|tag| tag.name() == name)
            }
        }
    };
}

/// Who writes the tag, seen from Sealgate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

tags! {
    Heartbeat "heartbeat" Read, Epoch "epoch" Read, State "state" Read, Fault "fault" Read,
    Identity "identity" Read, Recipe "recipe" Read,
    HeartbeatOut "heartbeat_out" Write, EpochOut "epoch_out" Write,
    PrintedSeq "printed_seq" Read, AcceptedSeq "accepted_seq" Read, NextSeq "next_seq" Read,
    Remaining "remaining" Read, FlushDone "flush_done" Read,
    Data "data" Write, DataSeq "data_seq" Write, Flush "flush" Write,
    Seq "seq" Read, Code "code" Read, Track "track" Read, Grade "grade" Read, Text "text" Read, Image "image" Read,
    Overrun "overrun" Read, Valid "valid" Read, Outcome "outcome" Read,
    Ack "ack" Write, Expected "expected" Write,
    InCount "in_count" Read, EndSeq "end_seq" Read, Ends "ends" Read, VerdictEcho "verdict_echo" Read,
    PhantomCount "phantom_count" Read, BinCount "bin_count" Read, BinFull "bin_full" Read,
    Verdict "verdict" Write, VerdictTrack "verdict_track" Write, VerdictWord "verdict_word" Write,
    RunPermit "run_permit" Write,
    Request "request" Read, Children "children" Read, ChildCount "child_count" Read, Container "container" Read,
    LabelRead "label_read" Read, PermitAck "permit_ack" Read, CloseResult "close_result" Read,
    GateState "gate_state" Read,
    ReplySeq "reply_seq" Write, Reply "reply" Write, Token "token" Write, TtlMs "ttl_ms" Write,
    Reason "reason" Write, Label "label" Write,
}

impl Tag {
    /// The counter that proves a read coherent: read before and after the rest.
    pub fn guard(kind: StationKind) -> Tag {
        match kind {
            StationKind::Printer => Tag::PrintedSeq,
            StationKind::Camera | StationKind::Packer | StationKind::Palletizer => Tag::Seq,
            StationKind::Rejector => Tag::EndSeq,
        }
    }

    /// The tags without which a station of this kind cannot do its work (a map may declare some absent).
    pub fn required(kind: StationKind) -> &'static [Tag] {
        match kind {
            StationKind::Printer => &[
                Tag::Heartbeat,
                Tag::Epoch,
                Tag::HeartbeatOut,
                Tag::EpochOut,
                Tag::PrintedSeq,
                Tag::AcceptedSeq,
                Tag::Data,
                Tag::DataSeq,
            ],
            StationKind::Camera => &[
                Tag::Heartbeat,
                Tag::Epoch,
                Tag::HeartbeatOut,
                Tag::EpochOut,
                Tag::Seq,
                Tag::Code,
                Tag::Track,
                Tag::Ack,
            ],
            StationKind::Rejector => &[
                Tag::Heartbeat,
                Tag::Epoch,
                Tag::HeartbeatOut,
                Tag::EpochOut,
                Tag::InCount,
                Tag::EndSeq,
                Tag::Ends,
                Tag::VerdictEcho,
                Tag::RunPermit,
            ],
            StationKind::Packer | StationKind::Palletizer => &[
                Tag::Heartbeat,
                Tag::Epoch,
                Tag::HeartbeatOut,
                Tag::EpochOut,
                Tag::Seq,
                Tag::Request,
                Tag::Children,
                Tag::PermitAck,
                Tag::CloseResult,
                Tag::GateState,
                Tag::Ack,
                Tag::ReplySeq,
                Tag::Reply,
                Tag::Token,
                Tag::TtlMs,
            ],
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl StationKind {
    pub const ALL: &'static [StationKind] = &[
        StationKind::Printer,
        StationKind::Camera,
        StationKind::Rejector,
        StationKind::Packer,
        StationKind::Palletizer,
    ];

    pub fn name(self) -> &'static str {
        match self {
            StationKind::Printer => "printer",
            StationKind::Camera => "camera",
            StationKind::Rejector => "rejector",
            StationKind::Packer => "packer",
            StationKind::Palletizer => "palletizer",
        }
    }

    pub fn parse(name: &str) -> Option<StationKind> {
        StationKind::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}
