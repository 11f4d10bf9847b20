//! The bare client crate: the same Reads and Writes in the plainest loop.

use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;

use opcua::types::{NodeId, ReadValueId, TimestampsToReturn, Variant, WriteValue};
use sealgate::domain::tag::{Access, Tag};

use crate::count;
use crate::direct::connect;
use crate::server::{STATIONS, Server, TAGS, node_name};

pub(crate) async fn measure(server: &Server, what: &str, length: Duration, folder: &Path) -> f64 {
    let session = connect(&server.url, folder).await;
    let node = |station: u8, tag: Tag| NodeId::new(server.namespace, node_name(station, tag));
    let rate = if what == "reads" {
        let groups: Vec<Vec<ReadValueId>> = (0..STATIONS).map(|station| group(|tag| node(station, tag))).collect();
        let work = async {
            loop {
                let reads = groups.iter().map(|ids| session.read(ids, TimestampsToReturn::Both, 0.0));
                for values in join_all(reads).await {
                    assert!(values.is_ok(), "{values:?}");
                }
            }
        };
        count(&server.reads, length, work).await
    } else {
        let work = async {
            for value in 0u32.. {
                let write = WriteValue::value_attr(node(0, Tag::Ack), Variant::UInt32(value % 60_000));
                let statuses = session.write(&[write]).await.expect("a write");
                assert!(statuses.iter().all(|status| status.is_good()), "{statuses:?}");
            }
        };
        count(&server.writes, length, work).await
    };
    let _ = session.disconnect().await;
    rate
}

/// Epoch and guard, the tags that the device owns, guard and epoch again.
fn group(node: impl Fn(Tag) -> NodeId) -> Vec<ReadValueId> {
    let read = TAGS.iter().copied().filter(|tag| tag.access() == Access::Read);
    read.chain([Tag::Seq, Tag::Epoch]).map(|tag| ReadValueId::new_value(node(tag))).collect()
}
