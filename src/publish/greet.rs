//! A greeting: whether what listens at an address is a broker, and takes us in. One connection, on which nothing is published.

use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, ConnectionError, Event, StateError};
use tokio::time::timeout;

use super::link::{Link, NO_BROKER};

/// For the goodbye.
const FAREWELL: Duration = Duration::from_millis(500);

/// A session that only comes and goes. What the broker promises, or why the feed would not get in, in words.
pub async fn greet(link: &Link) -> Result<String, String> {
    let (client, mut events) = AsyncClient::new(link.options(), 1);
    let place = format!("{}:{}", link.host, link.port);
    let ack = match events.poll().await {
        Ok(Event::Incoming(Packet::ConnAck(ack))) => ack,
        Ok(_) => return Err(format!("{place}: {NO_BROKER}")),
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
        ConnectionError::NotConnAck(_) => NO_BROKER.to_owned(),
        ConnectionError::MqttState(StateError::Io(error)) => format!("{NO_BROKER} ({error})"),
        other => format!("{NO_BROKER} ({other})"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_sends_our_own_words_back_is_no_broker() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let echo = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut from, mut to) = stream.split();
            let _ = tokio::io::copy(&mut from, &mut to).await;
        };
        let host = "127.0.0.1".to_owned();
        let client_id = "line1-check".to_owned();
        let link = Link { host, port, client_id, username: None, password: None, keep_alive_s: 60 };
        let (said, ()) = tokio::join!(greet(&link), echo);
        assert_eq!(said, Err(format!("127.0.0.1:{port}: what listens there is no MQTT 5 broker")));
    }
}
