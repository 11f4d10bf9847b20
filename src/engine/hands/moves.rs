//! What becomes of a request about product.

use crate::domain::code::Code;
use crate::domain::gs1::{SerialNumber, Sscc};
use crate::domain::pack::ContainerState;
use crate::engine::fact::{Child, Fact};
use crate::engine::hands::{Hand, HandsRefusal, HandsRequest, Told, Why};
use crate::engine::input::Actor;
use crate::engine::output::{Done, Refused, Step};
use crate::engine::reason::RequestRefusal;
use crate::engine::state::{Batch, Container, Stage, place};
use crate::engine::{Engine, Role};

type Outcome = Result<Done, Refused>;

/// Containers above each other: more levels than any line has.
const DEPTH_MAX: usize = 4;

impl Engine {
    pub(in crate::engine) fn ask_hands(&mut self, step: &mut Step, actor: Actor, request: HandsRequest) -> Outcome {
        // What a printer has printed may lie in somebody's hand before a camera has read it.
        self.encode_seen(step);
        match request {
            HandsRequest::Withdraw { hand, code, why } => self.take_out(step, actor, hand, &code, why),
            HandsRequest::Remove { code, why } => self.remove(step, actor, &code, &why),
            HandsRequest::Reopen { code, why } => self.open_by_code(step, actor, &code, &why),
            HandsRequest::Unpack { code, why } => self.unpack(step, actor, &code, why),
            HandsRequest::Reprint { code, why } => self.reprint(step, actor, &code, why),
        }
    }

    fn take_out(&mut self, step: &mut Step, actor: Actor, hand: Hand, code: &Code, why: Why) -> Outcome {
        let batch = self.handled()?;
        let serial = unit_of(batch, code)?;
        let unit = batch.pool.unit_of(&serial).copied().ok_or_else(|| refused(HandsRefusal::UnknownUnit(serial)))?;
        if hand.has_made(unit.state) {
            return Ok(Done::Already);
        }
        if self.is_between_gates(&serial) {
            return Err(refused(HandsRefusal::InTransit));
        }
        let withdrawal = hand.target(unit.state).ok_or_else(|| refused(HandsRefusal::UnitState(unit.state)))?;
        let chain = self.chain(unit.parent)?;
        self.open(step, actor, &chain, Some(Child::Unit(serial)), &why);
        self.emit_as(step, actor, Fact::UnitWithdrawn { serial, withdrawal, why });
        Ok(Done::Changed)
    }

    /// The parent follows from the scan alone.
    fn remove(&mut self, step: &mut Step, actor: Actor, code: &Code, why: &Why) -> Outcome {
        let batch = self.handled()?;
        let (child, parent) = match code {
            Code::Sscc(_) => {
                let container = container_of(batch, code)?;
                (Child::Container(container.sscc), container.parent)
            }
            Code::Sgtin { .. } | Code::Product { .. } | Code::Serial(_) | Code::Other(_) => {
                let serial = unit_of(batch, code)?;
                (Child::Unit(serial), batch.pool.unit_of(&serial).and_then(|unit| unit.parent))
            }
        };
        let chain = self.chain(parent)?;
        if chain.is_empty() {
            return Ok(Done::Already);
        }
        self.open(step, actor, &chain, Some(child), why);
        Ok(Done::Changed)
    }

    fn open_by_code(&mut self, step: &mut Step, actor: Actor, code: &Code, why: &Why) -> Outcome {
        let batch = self.handled()?;
        let container = container_of(batch, code)?;
        match container.state {
            ContainerState::Open => return Ok(Done::Already),
            ContainerState::Dissolved => return Err(refused(HandsRefusal::ContainerState(container.state))),
            ContainerState::Granted | ContainerState::Closed | ContainerState::Released | ContainerState::Held => {}
        }
        let chain = self.chain_of(&container.sscc)?;
        self.open(step, actor, &chain, None, why);
        Ok(Done::Changed)
    }

    fn unpack(&mut self, step: &mut Step, actor: Actor, code: &Code, why: Why) -> Outcome {
        let batch = self.handled()?;
        let Container { sscc, level, state, told, .. } = *container_of(batch, code)?;
        if state == ContainerState::Dissolved {
            return Ok(Done::Already);
        }
        if state != ContainerState::Open {
            let chain = self.chain_of(&sscc)?;
            self.open(step, actor, &chain, None, &why);
        }
        let told = told != Told::Nothing;
        self.emit_as(step, actor, Fact::ContainerDissolved { level, container: sscc, told, why });
        Ok(Done::Changed)
    }

    /// The container waits for its release once more: its new label has to be read back.
    fn reprint(&mut self, step: &mut Step, actor: Actor, code: &Code, why: Why) -> Outcome {
        let batch = self.handled()?;
        let Container { sscc, level, state, parent, labels, .. } = *container_of(batch, code)?;
        let own = self.chain_of(&sscc)?;
        if !matches!(state, ContainerState::Closed | ContainerState::Released) {
            return Err(refused(HandsRefusal::ContainerState(state)));
        }
        let around = own.get(..own.len().saturating_sub(1)).unwrap_or_default().to_vec();
        debug_assert_eq!(parent.is_some(), !around.is_empty(), "a parent is what lies around it");
        self.open(step, actor, &around, Some(Child::Container(sscc)), &why);
        let copy = labels.saturating_add(1);
        self.emit_as(step, actor, Fact::LabelVoided { level, container: sscc, copy, why });
        Ok(Done::Changed)
    }

    /// The batch whose product lies on the line.
    fn handled(&self) -> Result<&Batch, Refused> {
        self.state.current().ok_or_else(|| refused(HandsRefusal::NoBatch))
    }

    fn is_between_gates(&self, serial: &SerialNumber) -> bool {
        self.state.transit.tracks.values().any(|track| track.verdict.serial() == Some(*serial))
    }

    fn chain_of(&self, container: &Sscc) -> Result<Vec<Sscc>, Refused> {
        self.chain(self.handled()?.by_sscc.get(container).copied())
    }

    /// The container at this place and those around it, the outermost first; refused where a machine may close one of them yet.
    fn chain(&self, innermost: Option<u32>) -> Result<Vec<Sscc>, Refused> {
        let batch = self.handled()?;
        let mut chain = Vec::new();
        let mut next = innermost;
        while let Some(container) =
            next.and_then(|at| batch.containers.get(place(at))).filter(|_| chain.len() < DEPTH_MAX)
        {
            if self.is_permitted(&container.sscc) {
                return Err(refused(HandsRefusal::PermitInForce(container.sscc)));
            }
            chain.push(container.sscc);
            next = container.parent;
        }
        chain.reverse();
        Ok(chain)
    }

    fn is_permitted(&self, sscc: &Sscc) -> bool {
        self.state.stations.values().filter_map(|station| station.request).any(|request| {
            matches!(request.stage, Stage::Granted(grant) | Stage::Unresolved(grant) if grant.container == *sscc)
        })
    }

    /// Opens what is closed of a chain, the outermost first. `taken` is the child that comes out of the innermost one.
    fn open(&mut self, step: &mut Step, actor: Actor, chain: &[Sscc], taken: Option<Child>, why: &Why) {
        for (at, sscc) in chain.iter().enumerate() {
            let Some(container) = self.state.current().and_then(|batch| batch.container(sscc)).cloned() else {
                continue;
            };
            if container.state == ContainerState::Open {
                continue;
            }
            let Container { level, children, told, .. } = container;
            let taken = taken.filter(|_| at.saturating_add(1) == chain.len());
            self.skip_in_order(level, &children);
            let told = told == Told::Content;
            let fact = Fact::ContainerReopened { level, container: *sscc, told, taken, children, why: why.clone() };
            self.emit_as(step, actor, fact);
        }
    }

    /// A machine that takes its children in order is not held to have left these behind.
    fn skip_in_order(&mut self, level: crate::domain::pack::PackLevel, children: &[Child]) {
        let Some(batch) = self.state.current() else { return };
        let id = batch.id();
        let Some(last) = children.iter().filter_map(|child| batch.place_of(child)).max() else { return };
        for station in self.ids() {
            let is_of_level =
                matches!(self.spec(station).map(|spec| spec.role), Some(Role::Packer { level: of, .. }) if of == level);
            if !is_of_level {
                continue;
            }
            self.with_live(station, |live| {
                let from = live.packed_from.filter(|(of, _)| *of == id);
                live.packed_from = from.map(|(of, from)| (of, from.max(last.saturating_add(1))));
            });
        }
    }
}

fn refused(why: HandsRefusal) -> Refused {
    Refused::from(RequestRefusal::Hands(why))
}

/// The unit of this batch that a code names. A serial number alone is one of the batch's product.
fn unit_of(batch: &Batch, code: &Code) -> Result<SerialNumber, Refused> {
    let serial = match code {
        Code::Sgtin { gtin, .. } if *gtin != batch.sheet.gtin => return Err(refused(HandsRefusal::ForeignUnit(*gtin))),
        Code::Sgtin { serial, .. } | Code::Serial(serial) => *serial,
        Code::Sscc(_) | Code::Product { .. } | Code::Other(_) => return Err(refused(HandsRefusal::NoUnit)),
    };
    let known = batch.pool.find(&serial).map(|_| serial);
    known.ok_or_else(|| refused(HandsRefusal::UnknownUnit(serial)))
}

fn container_of<'b>(batch: &'b Batch, code: &Code) -> Result<&'b Container, Refused> {
    let Code::Sscc(sscc) = code else { return Err(refused(HandsRefusal::NoContainer)) };
    batch.container(sscc).ok_or_else(|| refused(HandsRefusal::UnknownContainer(*sscc)))
}
