//! An OPC UA server whose nodes show whatever status, value or null they are told to.

use std::path::Path;
use std::sync::Arc;

use opcua::server::ServerHandle;
use opcua::server::address_space::VariableBuilder;
use opcua::server::node_manager::memory::SimpleNodeManager;
use opcua::types::{DataTypeId, DataValue, NodeId, NumericRange, ObjectId, StatusCode, Variant};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::Fault;
use crate::device::{Binding, StationTags, opcua_value};
use crate::domain::tag::{Reading, Tag};
use crate::sim::loopback;
use crate::sim::opcua_server::NAMESPACE;

pub(super) struct Peer {
    handle: ServerHandle,
    space: Arc<SimpleNodeManager>,
    namespace: u16,
}

impl Peer {
    pub(super) fn start(listener: TcpListener, pki: &Path, tags: &StationTags, tasks: &mut JoinSet<()>) -> Self {
        let address = listener.local_addr().expect("it is bound");
        let (server, handle) = loopback::opcua(address, pki, &[NAMESPACE]).expect("a server");
        let space = handle.node_managers().get_of_type::<SimpleNodeManager>().expect("our node manager");
        let namespace = handle.get_namespace_index(NAMESPACE).expect("our namespace");
        for binding in &tags.bindings {
            let id = NodeId::new(namespace, binding.tag.name());
            // Any type: the tests show others than the map says.
            VariableBuilder::new(&id, binding.tag.name(), binding.tag.name())
                .data_type(DataTypeId::BaseDataType)
                .value_rank(-2)
                .organized_by(ObjectId::ObjectsFolder)
                .insert(&mut *space.address_space().write());
        }
        let token = handle.token().clone();
        tasks.spawn(async move {
            let _ends_with_us = token.drop_guard();
            let _ = server.run_with(listener).await;
        });
        Self { handle, space, namespace }
    }

    pub(super) fn show(&self, tags: &StationTags, all: &[Reading], fault: Option<(Tag, Fault)>) {
        let data = tags.bindings.iter().zip(all).map(|(binding, reading)| {
            let fault = fault.filter(|(tag, _)| *tag == binding.tag).map(|(_, fault)| fault);
            (NodeId::new(self.namespace, binding.tag.name()), shown(binding, reading, fault))
        });
        let data: Vec<(NodeId, DataValue)> = data.collect();
        let values = data.iter().map(|(id, value)| (id, None::<&NumericRange>, value.clone()));
        self.space.set_values(self.handle.subscriptions(), values).expect("every node is there");
    }
}

fn shown(binding: &Binding, reading: &Reading, fault: Option<Fault>) -> DataValue {
    let value = opcua_value::encode(binding.value, binding.scale, &reading.value).expect("the type that carries it");
    let with =
        |value, status| DataValue { value, ..DataValue::new_now_status(Variant::Empty, StatusCode::from(status)) };
    match fault {
        None => with(Some(value), 0),
        Some(Fault::Status(status)) => with(Some(value), status),
        Some(Fault::Valueless(status)) => with(None, status),
        Some(Fault::Null) => with(None, 0),
        Some(Fault::OtherType) => with(Some(Variant::from(true)), 0),
        Some(Fault::NotANumber) => with(Some(Variant::from(f64::NAN)), 0),
        Some(Fault::Exception(_) | Fault::Silence) => panic!("Modbus alone has {fault:?}"),
    }
}
