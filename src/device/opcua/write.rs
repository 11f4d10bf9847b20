//! Writes: values in their order, in one Write service call. Several writes that wait share a call, unless they name the same
//! tag, since a device that samples would then see only the last value.

use std::{collections::HashMap, sync::Arc};

use opcua::{
    client::Session,
    types::{NodeId, StatusCode, WriteValue},
};
use tokio::{sync::mpsc::Receiver, time::timeout};

use crate::{
    device::{
        DeviceEvent, EventSink, deliver,
        error::{DeviceError, End},
        opcua::{bell::Bell, nodes::resolve, profile::at_most, reader::Reader, value::encode},
        settings::{Binding, Settings},
    },
    domain::tag::{Access, StationId, Tag, TagWrite},
};

/// Values in one call; servers bound it, few below this.
const CALL_MAX: usize = 64;

pub(super) struct Writer<'a> {
    session: &'a Session,
    settings: &'a Settings,
    sink: &'a EventSink,
    bell: Arc<Bell>,
    targets: HashMap<(StationId, Tag), Target>,
    call_max: usize,
}

struct Target {
    node: Result<NodeId, StatusCode>,
    binding: Binding,
}

/// The values of one call, beside whose they are.
#[derive(Default)]
struct Call {
    keys: Vec<(StationId, Tag)>,
    values: Vec<WriteValue>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(session: &'a Session, settings: &'a Settings, sink: &'a EventSink, reader: &Reader) -> Self {
        let mut targets = HashMap::new();
        for station in &settings.stations {
            for binding in &station.bindings {
                let target = Target { node: resolve(&binding.address, &reader.namespaces), binding: binding.clone() };
                targets.insert((station.station, binding.tag), target);
            }
        }
        let call_max = at_most(reader.limits.nodes_per_write).min(CALL_MAX);
        Self { session, settings, sink, bell: reader.bell.clone(), targets, call_max }
    }

    /// Serves the channel until it closes or the session breaks.
    pub(super) async fn run(&self, writes: &mut Receiver<TagWrite>) -> End {
        let mut waiting = None;
        loop {
            let first = match waiting.take() {
                Some(write) => write,
                None => match writes.recv().await {
                    Some(write) => write,
                    None => return End::Closed,
                },
            };
            let mut call = Call::default();
            let mut refused = Vec::new();
            self.add(&first, &mut call, &mut refused);
            while let Ok(next) = writes.try_recv() {
                if call.has_no_room_for(&next, self.call_max) {
                    waiting = Some(next);
                    break;
                }
                self.add(&next, &mut call, &mut refused);
            }
            let sent = self.send(call, &mut refused).await;
            self.bell.nudge();
            for event in refused {
                deliver(self.sink, writes, event).await;
            }
            if let Err(error) = sent {
                return End::Failed { error, connected: true };
            }
        }
    }

    /// Takes a whole write or none of it: half of a verdict would make the device latch an old one.
    fn add(&self, write: &TagWrite, call: &mut Call, refused: &mut Vec<DeviceEvent>) {
        let mut mine = Call::default();
        for (tag, value) in &write.values {
            let Some(target) = self.targets.get(&(write.station, *tag)) else {
                continue;
            };
            let encoded = match (tag.access(), &target.node) {
                (Access::Read, _) => Err(StatusCode::BadNotWritable.bits()),
                (Access::Write, Err(status)) => Err(status.bits()),
                (Access::Write, Ok(node)) => encode(target.binding.value, target.binding.scale, value)
                    .map(|variant| WriteValue::value_attr(node.clone(), variant))
                    .map_err(|unfit| unfit.0),
            };
            match encoded {
                Ok(value) => {
                    mine.keys.push((write.station, *tag));
                    mine.values.push(value);
                }
                Err(status) => {
                    refused.push(self.refusal(write.station, *tag, status));
                    return;
                }
            }
        }
        call.keys.append(&mut mine.keys);
        call.values.append(&mut mine.values);
    }

    async fn send(&self, call: Call, refused: &mut Vec<DeviceEvent>) -> Result<(), DeviceError> {
        if call.values.is_empty() {
            return Ok(());
        }
        let statuses = timeout(self.settings.request_timeout, self.session.write(&call.values))
            .await
            .map_err(|_| DeviceError::TimedOut("a write"))?
            .map_err(|error| DeviceError::Lost(error.to_string()))?;
        if statuses.len() != call.keys.len() {
            return Err(DeviceError::Protocol(format!(
                "{} results to a write of {} values",
                statuses.len(),
                call.keys.len()
            )));
        }
        for ((station, tag), status) in call.keys.into_iter().zip(statuses) {
            if !status.is_good() {
                refused.push(self.refusal(station, tag, status.bits()));
            }
        }
        Ok(())
    }

    fn refusal(&self, station: StationId, tag: Tag, status: u32) -> DeviceEvent {
        DeviceEvent::WriteRefused { device: self.settings.device, station, tag, status }
    }
}

impl Call {
    fn has_no_room_for(&self, write: &TagWrite, call_max: usize) -> bool {
        self.keys.len() + write.values.len() > call_max
            || write.values.iter().any(|(tag, _)| self.keys.contains(&(write.station, *tag)))
    }
}
