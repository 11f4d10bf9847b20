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
    ($($variant:ident $name:literal $access:ident $nature:ident),+ $(,)?) => {
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

            pub fn nature(self) -> Nature {
                match self { $(Tag::$variant => Nature::$nature),+ }
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

/// What a tag's value is, whatever a device sends it as. In a ring it is a list of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    Flag,
    /// A count or a token, never negative.
    Counter,
    /// A number with a meaning of its own.
    Number,
    Decimal,
    /// A number, or its name.
    State,
    /// Bytes that never become a number.
    Text,
    /// Numbers in a list.
    Numbers,
    /// Texts in a list, or one delimited text.
    Texts,
}

tags! {
    Heartbeat "heartbeat" Read Number, Epoch "epoch" Read Counter, State "state" Read State, Mode "mode" Read Number,
    Fault "fault" Read Number,
    Identity "identity" Read Text, Recipe "recipe" Read Text,
    HeartbeatOut "heartbeat_out" Write Number, EpochOut "epoch_out" Write Counter,
    PrintedSeq "printed_seq" Read Counter, AcceptedSeq "accepted_seq" Read Counter, NextSeq "next_seq" Read Counter,
    Remaining "remaining" Read Counter, FlushDone "flush_done" Read Counter,
    Data "data" Write Text, DataSeq "data_seq" Write Counter, Flush "flush" Write Counter,
    Seq "seq" Read Counter, Code "code" Read Text, Track "track" Read Counter, Grade "grade" Read Decimal,
    Text "text" Read Text, Image "image" Read Text,
    Overrun "overrun" Read Flag, Valid "valid" Read Flag, Outcome "outcome" Read Number,
    Ack "ack" Write Number, Expected "expected" Write Text,
    InCount "in_count" Read Counter, EndSeq "end_seq" Read Counter, Ends "ends" Read Numbers,
    VerdictEcho "verdict_echo" Read Counter,
    PhantomCount "phantom_count" Read Counter, BinCount "bin_count" Read Counter, BinFull "bin_full" Read Flag,
    Verdict "verdict" Write Flag, VerdictTrack "verdict_track" Write Counter,
    VerdictWord "verdict_word" Write Counter,
    RunPermit "run_permit" Write Flag,
    Request "request" Read Number, Children "children" Read Texts, ChildCount "child_count" Read Counter,
    Container "container" Read Counter,
    LabelRead "label_read" Read Text, PermitAck "permit_ack" Read Counter, CloseResult "close_result" Read Number,
    GateState "gate_state" Read Number,
    ReplySeq "reply_seq" Write Counter, Reply "reply" Write Number, Token "token" Write Counter,
    TtlMs "ttl_ms" Write Counter,
    Reason "reason" Write Number, Label "label" Write Text,
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

    /// Every tag that a station of this kind may have.
    pub fn of_kind(kind: StationKind) -> Vec<Tag> {
        use Tag::*;
        let common = [Heartbeat, Epoch, State, Mode, Fault, Identity, Recipe, HeartbeatOut, EpochOut];
        let own: &[Tag] = match kind {
            StationKind::Printer => &[PrintedSeq, AcceptedSeq, NextSeq, Remaining, FlushDone, Data, DataSeq, Flush],
            StationKind::Camera => &[Seq, Code, Track, Grade, Text, Image, Overrun, Valid, Outcome, Ack, Expected],
            StationKind::Rejector => &[
                InCount,
                EndSeq,
                Ends,
                VerdictEcho,
                PhantomCount,
                BinCount,
                BinFull,
                Verdict,
                VerdictTrack,
                VerdictWord,
                RunPermit,
            ],
            StationKind::Packer | StationKind::Palletizer => &[
                Seq,
                Request,
                Children,
                ChildCount,
                Container,
                LabelRead,
                PermitAck,
                CloseResult,
                GateState,
                Ack,
                ReplySeq,
                Reply,
                Token,
                TtlMs,
                Reason,
                Label,
                // What a person scans.
                Code,
            ],
        };
        common.into_iter().chain(own.iter().copied()).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_required_tag_is_a_tag_of_its_kind() {
        for kind in StationKind::ALL {
            let known = Tag::of_kind(*kind);
            for tag in Tag::required(*kind) {
                assert!(known.contains(tag), "{tag} of {}", kind.name());
            }
        }
    }
}
