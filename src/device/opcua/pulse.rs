//! What a server says of itself: its clock, by which it is seen to live, and its limits.

use opcua::{
    client::Session,
    types::{ReadValueId, TimestampsToReturn, VariableId, Variant},
};
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::device::{error::DeviceError, opcua::profile::ServerLimits, settings::Settings};

const EVERY: Duration = Duration::from_secs(1);
/// Servers that count their time in whole seconds, or write it in a slow cycle, must not look dead.
const STILL_MAX: Duration = Duration::from_secs(4);

/// Ends when the server's clock stands still although it answers: what it answers is a frozen image then (F46). A server that has no
/// readable clock is not judged by it.
pub(super) async fn stopped(session: &Session, settings: &Settings) -> DeviceError {
    let node = ReadValueId::new_value(VariableId::Server_ServerStatus_CurrentTime.into());
    let mut seen: Option<(Variant, Instant)> = None;
    loop {
        sleep(EVERY).await;
        let read = session.read(std::slice::from_ref(&node), TimestampsToReturn::Neither, 0.0);
        let Ok(Ok(values)) = timeout(settings.request_timeout, read).await else {
            // The keep-alive and the reads of tags judge the connection.
            continue;
        };
        let time = values.into_iter().next().and_then(|data| data.value);
        let Some(time @ Variant::DateTime(_)) = time else {
            tracing::info!(device = %settings.name, "the server has no readable clock; whether it lives is seen by its tags alone");
            return std::future::pending().await;
        };
        let now = Instant::now();
        match &seen {
            Some((before, since)) if *before == time => {
                if now.duration_since(*since) > STILL_MAX {
                    return DeviceError::ClockStill;
                }
            }
            Some(_) | None => seen = Some((time, now)),
        }
    }
}

/// The server's own limits; a server that says nothing has none.
pub(super) async fn server_limits(session: &Session, bound: Duration) -> Result<ServerLimits, DeviceError> {
    let nodes = [
        VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
        VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerWrite,
        VariableId::Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
    ]
    .map(|node| ReadValueId::new_value(node.into()));
    let values = timeout(bound, session.read(&nodes, TimestampsToReturn::Neither, 0.0))
        .await
        .map_err(|_| DeviceError::TimedOut("the read of the server's limits"))?
        .map_err(|error| DeviceError::Lost(error.to_string()))?;
    let said: Vec<u32> = values
        .iter()
        .map(|data| match &data.value {
            Some(Variant::UInt32(limit)) => *limit,
            _ => 0,
        })
        .collect();
    let [nodes_per_read, nodes_per_write, items_per_call] = said[..] else { return Ok(ServerLimits::default()) };
    Ok(ServerLimits { nodes_per_read, nodes_per_write, items_per_call })
}
