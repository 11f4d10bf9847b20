//! The states and modes of a machine by PackML (OPC 30050, ISA-TR88.00.02): numbers, names, and what a state means for the line.
//!
//! States are nested machines and a device shows the leaf; the composites 18 (running) and 19 (cleared) say less than their leaf,
//! and no leaf is guessed from them.

/// A leaf state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineState {
    Clearing,
    Stopped,
    Starting,
    Idle,
    Suspended,
    Execute,
    Stopping,
    Aborting,
    Aborted,
    Holding,
    Held,
    Unholding,
    Suspending,
    Unsuspending,
    Resetting,
    Completing,
    Complete,
}

/// What a state means for the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It produces.
    Running,
    /// It could, and its neighbours do not let it: starved or blocked.
    Waiting,
    /// A cause of its own stops it for a while.
    Held,
    /// It is ready, or on its way there or to its end.
    Idle,
    Stopped,
    /// It stopped by a fault.
    Aborted,
}

/// What the machine is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitMode {
    Produce,
    Maintenance,
    Manual,
}

impl MachineState {
    /// In the order of their numbers.
    pub const ALL: &'static [MachineState] = &[
        MachineState::Clearing,
        MachineState::Stopped,
        MachineState::Starting,
        MachineState::Idle,
        MachineState::Suspended,
        MachineState::Execute,
        MachineState::Stopping,
        MachineState::Aborting,
        MachineState::Aborted,
        MachineState::Holding,
        MachineState::Held,
        MachineState::Unholding,
        MachineState::Suspending,
        MachineState::Unsuspending,
        MachineState::Resetting,
        MachineState::Completing,
        MachineState::Complete,
    ];

    pub fn number(self) -> i64 {
        match self {
            MachineState::Clearing => 1,
            MachineState::Stopped => 2,
            MachineState::Starting => 3,
            MachineState::Idle => 4,
            MachineState::Suspended => 5,
            MachineState::Execute => 6,
            MachineState::Stopping => 7,
            MachineState::Aborting => 8,
            MachineState::Aborted => 9,
            MachineState::Holding => 10,
            MachineState::Held => 11,
            MachineState::Unholding => 12,
            MachineState::Suspending => 13,
            MachineState::Unsuspending => 14,
            MachineState::Resetting => 15,
            MachineState::Completing => 16,
            MachineState::Complete => 17,
        }
    }

    /// The stable word, lower case; PackML's own name but for its case.
    pub fn name(self) -> &'static str {
        match self {
            MachineState::Clearing => "clearing",
            MachineState::Stopped => "stopped",
            MachineState::Starting => "starting",
            MachineState::Idle => "idle",
            MachineState::Suspended => "suspended",
            MachineState::Execute => "execute",
            MachineState::Stopping => "stopping",
            MachineState::Aborting => "aborting",
            MachineState::Aborted => "aborted",
            MachineState::Holding => "holding",
            MachineState::Held => "held",
            MachineState::Unholding => "unholding",
            MachineState::Suspending => "suspending",
            MachineState::Unsuspending => "unsuspending",
            MachineState::Resetting => "resetting",
            MachineState::Completing => "completing",
            MachineState::Complete => "complete",
        }
    }

    pub fn of_number(number: i64) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| state.number() == number)
    }

    /// The name as a device shows it, in any case.
    pub fn of_text(text: &[u8]) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| text.trim_ascii().eq_ignore_ascii_case(state.name().as_bytes()))
    }

    pub fn condition(self) -> Condition {
        match self {
            MachineState::Execute => Condition::Running,
            MachineState::Suspending | MachineState::Suspended | MachineState::Unsuspending => Condition::Waiting,
            MachineState::Holding | MachineState::Held | MachineState::Unholding => Condition::Held,
            MachineState::Resetting
            | MachineState::Idle
            | MachineState::Starting
            | MachineState::Completing
            | MachineState::Complete => Condition::Idle,
            MachineState::Stopping | MachineState::Stopped => Condition::Stopped,
            MachineState::Aborting | MachineState::Aborted | MachineState::Clearing => Condition::Aborted,
        }
    }
}

impl Condition {
    /// The stable word, lower case.
    pub fn name(self) -> &'static str {
        match self {
            Condition::Running => "running",
            Condition::Waiting => "waiting",
            Condition::Held => "held",
            Condition::Idle => "idle",
            Condition::Stopped => "stopped",
            Condition::Aborted => "aborted",
        }
    }
}

impl UnitMode {
    /// The stable word, lower case.
    pub fn name(self) -> &'static str {
        match self {
            UnitMode::Produce => "produce",
            UnitMode::Maintenance => "maintenance",
            UnitMode::Manual => "manual",
        }
    }

    /// The standard's own modes; those that a builder adds mean nothing to us.
    pub fn of_number(number: i64) -> Option<Self> {
        match number {
            1 => Some(UnitMode::Produce),
            2 => Some(UnitMode::Maintenance),
            3 => Some(UnitMode::Manual),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_found_by_its_number_and_by_its_name_in_any_case() {
        for (state, number) in MachineState::ALL.iter().zip(1..) {
            assert_eq!(MachineState::of_number(number), Some(*state));
            assert_eq!(MachineState::of_text(state.name().to_uppercase().as_bytes()), Some(*state));
        }
    }

    #[test]
    fn composites_and_strangers_are_no_state() {
        for number in [-1, 0, 18, 19, 20] {
            assert_eq!(MachineState::of_number(number), None, "{number}");
        }
        for text in ["", "Running", "Cleared", "Exe"] {
            assert_eq!(MachineState::of_text(text.as_bytes()), None, "{text}");
        }
    }
}
