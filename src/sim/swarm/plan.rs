//! Which faults a seed switches on and how often they come (swarm testing: most seeds leave most kinds out, so that no kind
//! hides another). Faults come in storms with calm spells between, in which the line has to prove that it does its work.

use crate::sim::mishap::{Mishap, Rough};
use crate::sim::random::Random;

macro_rules! faults {
    ($($(#[$doc:meta])* $variant:ident $word:literal $mean_s:literal),+ $(,)?) => {
        /// Every kind of fault that the simulator knows. The plant's own kinds are those of its physics.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault { $($(#[$doc])* $variant),+ }

        impl Fault {
            pub const ALL: &'static [Fault] = &[$(Fault::$variant),+];

            /// The word of the table.
            pub fn name(self) -> &'static str {
                match self { $(Fault::$variant => $word),+ }
            }

            /// Seconds between two of a kind in a storm, on the average, before the seed's own factor.
            fn mean_s(self) -> u64 {
                match self { $(Fault::$variant => $mean_s),+ }
            }
        }
    };
}

faults! {
    /// The process dies between two turns; what is in flight to the disk is lost.
    CrashForgets "crash, group in flight lost" 20,
    /// The same, and the group in flight is there.
    CrashKeeps "crash, group in flight kept" 20,
    /// A second crash within a second of the restart.
    CrashTwice "crash during recovery" 40,
    StopAndStart "stop and start in order" 40,
    CommitFailsPresent "commit fails, group there" 30,
    CommitFailsAbsent "commit fails, group not there" 30,
    CommitHalfSecond "commit takes 0.5 s" 12,
    CommitTwoSeconds "commit takes 2 s" 25,
    CommitFiveSeconds "commit takes 5 s" 60,
    /// No turns for up to 30 s.
    Pause "process paused" 60,
    InboxFull "inbox full" 15,
    UpdateLost "updates lost or coalesced" 8,
    UpdateLate "updates late" 10,
    UpdateTwice "update repeated" 8,
    UpdateReordered "updates reordered" 15,
    SessionSilent "session silent" 40,
    Disconnect "device away" 20,
    BadQuality "value bad" 15,
    UncertainQuality "value uncertain" 20,
    WriteLost "write lost" 15,
    WriteLate "writes late" 12,
    ResetPrinter "printer restarts" 40,
    ResetCamera "camera restarts" 40,
    ResetRejector "rejector restarts" 40,
    ResetPacker "packer restarts" 50,
    ResetPalletizer "palletizer restarts" 60,
    BrokerAway "broker away" 30,
    FeedAckLost "acknowledgement of the feed lost" 10,
    FeedAckTwice "acknowledgement of the feed repeated" 10,
    StopAsked "batch stopped and started again" 40,
    CloseAsked "close asked while running" 20,
    LoadAsked "order loaded again" 20,
    AlarmAsked "unknown alarm acknowledged" 10,
    ClockBack "wall clock an hour back" 40,
    ClockForward "wall clock a day forward" 60,
    ClockLost "wall clock at 1970" 60,
    RejectMissing "reject missing" 30,
    RejectSlips "reject slips through" 30,
    RejectPhantom "phantom reject" 40,
    SealFails "seal fails" 30,
    LabelUnread "label unreadable" 30,
    /// A record is on its way while the printer restarts, and stands when it comes back.
    WriteOverRestart "write outlives a restart" 30,
}

/// The kinds of one seed, with the mean time between two of each.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub rates: Vec<(Fault, u64)>,
    /// What the plant does wrong by itself.
    pub rough: Rough,
}

impl Plan {
    /// No fault of its own; the mild weather of the plant stays.
    pub fn calm() -> Self {
        Self::default()
    }

    /// One seed in sixteen has no faults: there every false reject counts.
    pub fn drawn(random: &mut Random) -> Self {
        if random.below(16) == 0 {
            return Self::calm();
        }
        // A few kinds often, or many kinds seldom.
        let share = [2, 3, 5, 8].get(usize::try_from(random.below(4)).unwrap_or(0)).copied().unwrap_or(3);
        let mut rates = Vec::new();
        for fault in Fault::ALL {
            let is_on = random.below(share) == 0;
            let factor = 3 + random.below(10);
            if is_on {
                rates.push((*fault, fault.mean_s() * 100_000 * factor));
            }
        }
        Self { rates, rough: Self::rough(random) }
    }

    fn rough(random: &mut Random) -> Rough {
        let share = [1, 2, 4, 8].get(usize::try_from(random.below(8)).unwrap_or(0)).copied().unwrap_or(0);
        let mut kinds = Vec::new();
        for mishap in Mishap::ALL {
            let is_on = random.below(share.max(1)) == 0;
            if is_on && share > 0 {
                kinds.push(*mishap);
            }
        }
        Rough { kinds, times: 1 + u32::try_from(random.below(3)).unwrap_or(0) }
    }

    /// One kind alone, as often as it can be told apart.
    pub fn only(fault: Fault) -> Self {
        Self { rates: vec![(fault, 4_000_000)], rough: Rough::none() }
    }
}

/// When the next of each kind is due.
#[derive(Clone, Debug)]
pub struct Storm {
    due: Vec<(Fault, u64, u64)>,
    is_blowing: bool,
    turns_at_us: u64,
    is_over: bool,
}

impl Storm {
    /// The first spell is calm: a batch has to begin.
    pub fn new(plan: &Plan, random: &mut Random) -> Self {
        let due = plan.rates.iter().map(|(fault, mean)| (*fault, *mean, 0)).collect();
        Self {
            due,
            is_blowing: false,
            turns_at_us: 3_000_000 + random.below(6_000_000),
            is_over: plan.rates.is_empty(),
        }
    }

    pub fn end(&mut self) {
        self.is_over = true;
    }

    /// The kinds that are due now.
    pub fn due(&mut self, now_us: u64, random: &mut Random) -> Vec<Fault> {
        if self.is_over {
            return Vec::new();
        }
        if now_us >= self.turns_at_us {
            self.is_blowing = !self.is_blowing;
            let (least, spread) = if self.is_blowing { (10_000_000, 30_000_000) } else { (8_000_000, 12_000_000) };
            self.turns_at_us = now_us + least + random.below(spread);
            for (_, mean, at) in &mut self.due {
                *at = now_us + random.below(*mean * 2);
            }
        }
        if !self.is_blowing {
            return Vec::new();
        }
        let mut due = Vec::new();
        for (fault, mean, at) in &mut self.due {
            if *at <= now_us {
                due.push(*fault);
                *at = now_us + random.below(*mean * 2).max(100_000);
            }
        }
        due
    }
}
