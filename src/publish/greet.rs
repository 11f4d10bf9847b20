//! A greeting: whether what listens at an address is a broker, and takes us in. One connection, on which nothing is published.

use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, ConnectionError, Event};
use tokio::time::timeout;

use super::link::Link;

/// For the goodbye.
const FAREWELL: Duration = Duration::from_millis(500);

/// A session that only comes and goes. What the broker promises, or why the feed would not get in, in words.
pub async fn greet(link: &Link) -> Result<String, String> {
    let (client, mut events) = AsyncClient::new(link.options(), 1);
    let place = format!("{}:{}", link.host, link.port);
    let ack = match events.poll().await {
        Ok(Event::Incoming(Packet::ConnAck(ack))) => ack,
        Ok(other) => return Err(format!("{place}: what listens there is no MQTT 5 broker ({other:?})")),
        Err(error) => return Err(format!("{place}: {}", why(&error))),
    };
    if client.try_disconnect().is_ok() {
        let _ = timeout(FAREWELL, async { while events.poll().await.is_ok() {} }).await;
    }
    let promises = ack.properties.as_ref();
    if promises.and_then(|promises| promises.max_qos) == Some(0) {
        return Err(format!("{place}: the broker offers QoS 0 only, and the feed needs 1"));
    }
    // MQTT 5, 3.2.2.3.3: what is not said is the most there is.
    let window = promises.and_then(|promises| promises.receive_max).unwrap_or(u16::MAX);
    Ok(format!("{place} is an MQTT 5 broker and takes us in; it takes {window} unacknowledged messages"))
}

fn why(error: &ConnectionError) -> String {
    match error {
        ConnectionError::Io(error) => format!("does not answer ({error}); check cable, address and firewall"),
        ConnectionError::Timeout(_) => "no answer to a CONNECT in time; is it a broker for MQTT 5?".to_owned(),
        ConnectionError::ConnectionRefused(code) => {
            format!("the broker refuses us ({code:?}); check username, password_file and its access list")
        }
        other => format!("what listens there is no MQTT 5 broker ({other})"),
    }
}
