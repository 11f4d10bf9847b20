//! One Modbus TCP session, from the connection to its end.
//!
//! The protocol allows one outstanding request, so there is one loop: what waits to be written goes first, even between two
//! blocks of a read. Where a group needs several blocks, epoch and guard are read again at the end (F68).

pub mod look;
mod peer;
mod plan;
mod write;

use tokio::{
    select,
    sync::mpsc::Receiver,
    time::{Duration, Instant, MissedTickBehavior, interval},
};

use crate::{
    device::{
        DeviceEvent, EventSink,
        codec::{self, RegisterOrder},
        deliver, drain,
        error::{DeviceError, End},
        image::{Arrays, Image},
        settings::{Address, Binding, ModbusLink, Settings},
    },
    domain::tag::{Quality, Reading, TagWrite},
};
use peer::Peer;
use plan::{Block, Limits, Registers};
use write::Targets;

/// Group reads in a row that a moving guard may spoil before the next cycle has to do.
const TRIES: usize = 4;

/// Connects once and serves until the session or the line ends.
pub(super) async fn serve(
    link: &ModbusLink,
    settings: &Settings,
    sink: &EventSink,
    writes: &mut Receiver<TagWrite>,
) -> End {
    let mut lanes: Vec<Lane> = settings.stations.iter().map(|tags| Lane::new(link, tags)).collect();
    let begun = select! {
        () = drain(writes) => return End::Closed,
        begun = begin(link, settings, &mut lanes) => begun,
    };
    let peer = match begun {
        Ok(peer) => peer,
        Err(error) => return End::Failed { error, connected: false },
    };
    while writes.try_recv().is_ok() {}
    deliver(sink, writes, DeviceEvent::Connected { device: settings.device }).await;
    for lane in &mut lanes {
        if let Some(first) = lane.first.take() {
            lane.image.offer(first, true, Instant::now(), sink);
        }
    }
    let mut session = Session { peer, targets: Targets::new(link, settings), sink, writes };
    match session.run(&mut lanes, settings.poll).await {
        Ok(()) => End::Closed,
        Err(error) => End::Failed { error, connected: true },
    }
}

/// Connects and reads everything once.
async fn begin(link: &ModbusLink, settings: &Settings, lanes: &mut [Lane]) -> Result<Peer, DeviceError> {
    let mut peer = Peer::connect(link, settings.request_timeout).await?;
    for lane in lanes {
        let mut registers = Registers::default();
        for block in &lane.full.blocks {
            registers.push(*block, peer.read(*block).await?);
        }
        let again = lane.again(&mut peer, &lane.full).await?;
        lane.first = lane.readings(&lane.full, &registers, again.as_ref());
    }
    Ok(peer)
}

fn order_of(link: &ModbusLink, binding: &Binding) -> RegisterOrder {
    RegisterOrder { word: link.word_order, byte: binding.byte_order.unwrap_or(link.byte_order) }
}

/// One station: what was told, and how to read it.
struct Lane {
    image: Image,
    /// Beside the image's bindings; `None` where the address is no register.
    places: Vec<Option<(Block, RegisterOrder)>>,
    proofs: Vec<Block>,
    light: Group,
    full: Group,
    /// Read before `Connected` was said, told after it.
    first: Option<Vec<Reading>>,
}

/// One group read: which bindings, by which blocks.
struct Group {
    bindings: Vec<usize>,
    blocks: Vec<Block>,
}

struct Session<'a> {
    peer: Peer,
    targets: Targets,
    sink: &'a EventSink,
    writes: &'a mut Receiver<TagWrite>,
}

impl Session<'_> {
    /// Until the line closes the channel.
    async fn run(&mut self, lanes: &mut [Lane], poll: Duration) -> Result<(), DeviceError> {
        let mut tick = interval(poll.max(Duration::from_millis(1)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            select! {
                biased;
                write = self.writes.recv() => match write {
                    Some(write) => {
                        self.write(&write).await?;
                        // A device often answers a write at once: look before the tick.
                        tick.reset_immediately();
                    }
                    None => return Ok(()),
                },
                _ = tick.tick() => {
                    for lane in &mut *lanes {
                        self.refresh(lane).await?;
                    }
                }
            }
        }
    }

    /// Reads what is due and tells it; what stays torn or finds no room comes at the next cycle.
    async fn refresh(&mut self, lane: &mut Lane) -> Result<(), DeviceError> {
        let Some(light) = self.group(lane, &lane.light).await? else {
            return Ok(());
        };
        let now = Instant::now();
        if !lane.image.heavy_due(&light, now) {
            lane.image.offer(light, false, now, self.sink);
            return Ok(());
        }
        if let Some(full) = self.group(lane, &lane.full).await? {
            lane.image.offer(full, true, now, self.sink);
        }
        Ok(())
    }

    async fn group(&mut self, lane: &Lane, group: &Group) -> Result<Option<Vec<Reading>>, DeviceError> {
        for _ in 0..TRIES {
            let mut registers = Registers::default();
            for block in &group.blocks {
                self.write_waiting().await?;
                registers.push(*block, self.peer.read(*block).await?);
            }
            let again = lane.again(&mut self.peer, group).await?;
            if let Some(readings) = lane.readings(group, &registers, again.as_ref()) {
                return Ok(Some(readings));
            }
        }
        Ok(None)
    }

    async fn write_waiting(&mut self) -> Result<(), DeviceError> {
        while let Ok(write) = self.writes.try_recv() {
            self.write(&write).await?;
        }
        Ok(())
    }

    async fn write(&mut self, write: &TagWrite) -> Result<(), DeviceError> {
        for refused in self.targets.write(&mut self.peer, write).await? {
            deliver(self.sink, self.writes, refused).await;
        }
        Ok(())
    }
}

impl Lane {
    fn new(link: &ModbusLink, tags: &crate::device::settings::StationTags) -> Self {
        let image = Image::new(tags, Arrays::Heavy);
        let places: Vec<_> = image
            .bindings
            .iter()
            .map(|binding| match binding.address {
                Address::Register(start) => {
                    let block = Block { start, len: binding.value.registers() };
                    Some((block, order_of(link, binding)))
                }
                Address::Node(_) => None,
            })
            .collect();
        let block_of = |index: &usize| places.get(*index).copied().flatten().map(|(block, _)| block);
        let proofs: Vec<Block> = image.proofs().iter().filter_map(block_of).collect();
        let limits = Limits { gap_max: link.gap_max, block_max: link.block_max };
        let group = |full| {
            let bindings: Vec<usize> = image.to_read(full).collect();
            let values: Vec<Block> = bindings.iter().filter_map(block_of).collect();
            Group { blocks: plan::plan(&values, &proofs, limits), bindings }
        };
        let (light, full) = (group(false), group(true));
        Self { light, full, image, places, proofs, first: None }
    }

    /// The proofs once more, where one request could not bring everything.
    async fn again(&self, peer: &mut Peer, group: &Group) -> Result<Option<Registers>, DeviceError> {
        if group.blocks.len() < 2 || self.proofs.is_empty() {
            return Ok(None);
        }
        let mut registers = Registers::default();
        // Guard before epoch: the reverse of the order in which a device shows them.
        for block in plan::plan(&self.proofs, &[], Limits { gap_max: 0, block_max: 125 }).into_iter().rev() {
            registers.push(block, peer.read(block).await?);
        }
        Ok(Some(registers))
    }

    /// The readings, where the proofs before and after agree.
    fn readings(&self, group: &Group, registers: &Registers, again: Option<&Registers>) -> Option<Vec<Reading>> {
        let readings: Vec<Reading> = group.bindings.iter().flat_map(|index| self.decode(*index, registers)).collect();
        if let Some(again) = again {
            let proofs: Vec<Reading> =
                self.image.proofs().iter().flat_map(|index| self.decode(*index, again)).collect();
            if !self.image.coherent(&readings, &proofs) {
                return None;
            }
        }
        Some(readings)
    }

    fn decode(&self, index: usize, registers: &Registers) -> Vec<Reading> {
        let (Some(binding), Some(place)) = (self.image.bindings.get(index), self.places.get(index)) else {
            return Vec::new();
        };
        let found = match place {
            Some((block, order)) => registers.get(*block).map(|words| (words, *order)),
            None => Err(0),
        };
        match found {
            Ok((words, order)) => {
                let value = codec::decode_registers(binding.value, binding.scale, order, &words);
                codec::readings(binding, value, Quality::Good, None)
            }
            Err(code) => codec::readings(binding, None, Quality::Bad(u32::from(code)), None),
        }
    }
}

#[cfg(all(test, feature = "demo"))]
mod tests;
