//! Pack levels, serial states and container states, in the words of the standards.

/// unit < bundle < case < pallet; any level but unit may be absent on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PackLevel {
    Unit,
    Bundle,
    Case,
    Pallet,
}

/// The life of a serial number (OPEN-SCS, OPC 30260).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SerialState {
    Unassigned,
    Unallocated,
    Allocated,
    SnInvalid,
    Encoded,
    LabelSampled,
    LabelScrapped,
    Commissioned,
    Sampled,
    Inactive,
    Destroyed,
    Released,
}

/// The life of a container: both gates done is `Released`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContainerState {
    Open,
    Granted,
    Closed,
    Released,
    Held,
    Dissolved,
}

/// The two gates of a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gate {
    /// The contents.
    Seal,
    /// The label, applied and read back.
    Release,
}

impl PackLevel {
    pub const ALL: &'static [PackLevel] = &[PackLevel::Unit, PackLevel::Bundle, PackLevel::Case, PackLevel::Pallet];

    pub fn name(self) -> &'static str {
        match self {
            PackLevel::Unit => "unit",
            PackLevel::Bundle => "bundle",
            PackLevel::Case => "case",
            PackLevel::Pallet => "pallet",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|level| level.name() == name)
    }
}

impl SerialState {
    pub const ALL: &'static [SerialState] = &[
        SerialState::Unassigned,
        SerialState::Unallocated,
        SerialState::Allocated,
        SerialState::SnInvalid,
        SerialState::Encoded,
        SerialState::LabelSampled,
        SerialState::LabelScrapped,
        SerialState::Commissioned,
        SerialState::Sampled,
        SerialState::Inactive,
        SerialState::Destroyed,
        SerialState::Released,
    ];

    /// Lower snake case, as in the audit views.
    pub fn name(self) -> &'static str {
        match self {
            SerialState::Unassigned => "unassigned",
            SerialState::Unallocated => "unallocated",
            SerialState::Allocated => "allocated",
            SerialState::SnInvalid => "sn_invalid",
            SerialState::Encoded => "encoded",
            SerialState::LabelSampled => "label_sampled",
            SerialState::LabelScrapped => "label_scrapped",
            SerialState::Commissioned => "commissioned",
            SerialState::Sampled => "sampled",
            SerialState::Inactive => "inactive",
            SerialState::Destroyed => "destroyed",
            SerialState::Released => "released",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| state.name() == name)
    }
}

impl ContainerState {
    pub const ALL: &'static [ContainerState] = &[
        ContainerState::Open,
        ContainerState::Granted,
        ContainerState::Closed,
        ContainerState::Released,
        ContainerState::Held,
        ContainerState::Dissolved,
    ];

    pub fn name(self) -> &'static str {
        match self {
            ContainerState::Open => "open",
            ContainerState::Granted => "granted",
            ContainerState::Closed => "closed",
            ContainerState::Released => "released",
            ContainerState::Held => "held",
            ContainerState::Dissolved => "dissolved",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| state.name() == name)
    }
}

impl Gate {
    pub fn name(self) -> &'static str {
        match self {
            Gate::Seal => "seal",
            Gate::Release => "release",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Gate::Seal, Gate::Release].into_iter().find(|gate| gate.name() == name)
    }
}
