//! A subscribing session of its own: connects, subscribes, hands every message on, and comes back by itself.
//!
//! It is a second client beside the pump, because a SUBSCRIBE takes packet ids from the same counter as the feed's messages.
//! Sessions are clean: what was published while it was away is not delivered; who needs it asks for a replay.

use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Packet, Publish, PublishProperties, RetainForwardRule, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, Event, EventLoop};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::calm::Calm;
use super::link::{Backoff, Broken, Link, Pace};

const SUBSCRIBED_WITHIN: Duration = Duration::from_secs(10);
const QUEUE: usize = 64;

/// What is subscribed, with QoS 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub filter: String,
    /// Show the retain flag as the sender set it, not only on messages that the broker kept.
    pub is_retain_shown_as_sent: bool,
}

/// A message that came in. A topic that is not UTF-8 never gets here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub topic: String,
    pub retain: bool,
    pub payload: Vec<u8>,
    pub properties: Vec<(String, String)>,
    pub response_topic: Option<String>,
    pub correlation: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriberEvent {
    /// From now on every message arrives; what came before this connection may be missing.
    Subscribed,
    Received(Received),
    Lost(String),
}

/// A message to publish with QoS 1 on this session: an answer or a request. Lost with the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    pub topic: String,
    pub payload: Vec<u8>,
    pub response_topic: Option<String>,
    pub correlation: Option<Vec<u8>>,
}

/// Runs until dropped. `on_event` must not block; what it returns is published.
pub async fn run(
    link: &Link,
    subscriptions: &[Subscription],
    mut posts: mpsc::Receiver<Post>,
    mut on_event: impl FnMut(SubscriberEvent) -> Vec<Post>,
) {
    let pace = Pace::default();
    let mut backoff = Backoff::new(pace);
    let mut calm = Calm::new();
    loop {
        let since = Instant::now();
        let (client, mut events) = AsyncClient::new(link.options(), QUEUE);
        let why = match subscribe(&client, &mut events, subscriptions).await {
            Ok(()) => {
                publish_all(&client, &mut calm, on_event(SubscriberEvent::Subscribed));
                let why = serve((&client, &mut events), &mut posts, &mut calm, &mut on_event).await;
                // Two clients of one name would throw each other out at once, for ever.
                let is_suspect = why == Broken::TakenOver || why == Broken::HungUp && since.elapsed() < pace.slow * 5;
                if !is_suspect || since.elapsed() > pace.useful {
                    backoff.reset();
                }
                why
            }
            Err(why) => why,
        };
        if matches!(why, Broken::NotAdmitted(_) | Broken::TakenOver) {
            backoff.slow();
        }
        // Nothing can be published now; what the event asks for is as lost as the connection.
        drop(on_event(SubscriberEvent::Lost(format!("{why:?}"))));
        sleep(backoff.pause()).await;
    }
}

async fn subscribe(client: &AsyncClient, events: &mut EventLoop, subscriptions: &[Subscription]) -> Result<(), Broken> {
    let filters = subscriptions.iter().map(|subscription| Filter {
        path: subscription.filter.clone(),
        qos: QoS::AtLeastOnce,
        nolocal: false,
        preserve_retain: subscription.is_retain_shown_as_sent,
        retain_forward_rule: RetainForwardRule::OnEverySubscribe,
    });
    client.try_subscribe_many(filters).map_err(|error| Broken::Lost(error.to_string()))?;
    let granted = async {
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::SubAck(ack))) => {
                    let is_granted =
                        ack.return_codes.iter().all(|code| matches!(code, SubscribeReasonCode::Success(_)));
                    let refused = || Broken::NotAdmitted(format!("subscription refused: {:?}", ack.return_codes));
                    return is_granted.then_some(()).ok_or_else(refused);
                }
                Ok(_) => {}
                Err(error) => return Err(Broken::of(&error)),
            }
        }
    };
    timeout(SUBSCRIBED_WITHIN, granted).await.unwrap_or_else(|_| Err(Broken::Lost("no SUBACK in time".into())))
}

async fn serve(
    (client, events): (&AsyncClient, &mut EventLoop),
    posts: &mut mpsc::Receiver<Post>,
    calm: &mut Calm,
    on_event: &mut impl FnMut(SubscriberEvent) -> Vec<Post>,
) -> Broken {
    loop {
        let event = {
            // Pinned and polled to its end: cancelling it could cut a packet in two.
            let poll = events.poll();
            tokio::pin!(poll);
            loop {
                tokio::select! {
                    event = &mut poll => break event,
                    Some(post) = posts.recv() => publish_all(client, calm, vec![post]),
                }
            }
        };
        match event {
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                if let Some(received) = received(publish) {
                    publish_all(client, calm, on_event(SubscriberEvent::Received(received)));
                }
            }
            Ok(_) => {}
            Err(error) => return Broken::of(&error),
        }
    }
}

fn publish_all(client: &AsyncClient, calm: &mut Calm, posts: Vec<Post>) {
    for post in posts {
        let properties = PublishProperties {
            response_topic: post.response_topic,
            correlation_data: post.correlation.map(Into::into),
            ..PublishProperties::default()
        };
        let sent = client.try_publish_with_properties(&post.topic, QoS::AtLeastOnce, false, post.payload, properties);
        if let (Err(error), Some(left_out)) = (&sent, sent.is_err().then(|| calm.ask()).flatten()) {
            tracing::warn!(topic = post.topic, %error, left_out, "not published: too much is waiting");
        }
    }
}

fn received(publish: Publish) -> Option<Received> {
    let topic = String::from_utf8(publish.topic.to_vec()).ok()?;
    let properties = publish.properties.unwrap_or_default();
    if properties.message_expiry_interval == Some(0) {
        // Its sender wanted it done by now, and a broker should have dropped it (MQTT 5, 3.3.2.3.3).
        return None;
    }
    Some(Received {
        topic,
        retain: publish.retain,
        payload: publish.payload.to_vec(),
        properties: properties.user_properties,
        response_topic: properties.response_topic,
        correlation: properties.correlation_data.map(|data| data.to_vec()),
    })
}
