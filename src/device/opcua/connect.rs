//! From a URL to a session: endpoints, security, trust, and a connector of our own.
//!
//! The connector exists because async-opcua 0.19 never sets TCP_NODELAY: small writes then wait for the peer's delayed
//! acknowledgement, up to 40 ms. It also pins the configured host, whatever host the endpoint list names (F58), and looks at the
//! trust list again at every single connection, also where a session is only taken up again.

use std::{path::Path, sync::Arc};

use opcua::{
    client::{
        Client, ClientBuilder, ConnectionSource, IdentityToken, Session, SessionEventLoop,
        transport::{
            Connector, RequestRecv, SecureChannelState, StreamConnection, StreamConnector, StreamTransport,
            TransportConfiguration,
        },
    },
    core::comms::{tcp_codec::TcpCodec, url::hostname_port_from_url},
    crypto::SecurityPolicy,
    types::{DateTime, DecodingOptions, EndpointDescription, Error, MessageSecurityMode, StatusCode, UserTokenType},
};
use tokio::{
    io::WriteHalf,
    net::TcpStream,
    task::spawn_blocking,
    time::{Duration, timeout},
};
use tokio_util::codec::FramedRead;

use crate::device::{
    dial::dial,
    error::DeviceError,
    opcua::{
        incoming::{CHUNK_BYTES_MAX, Incoming},
        own::{self, OwnCertificate},
        seen::Seen,
        trust::{Shown, TrustList},
    },
    refusal::CertificateRefusal,
    settings::{Channel, MessageMode, OpcuaLink, Own, Policy, Settings, User},
};

const DEFAULT_PORT: u16 = 4840;
/// How long the server keeps what we left behind without a goodbye: short, as many servers take few sessions.
pub(super) const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// The library's own publish timer; at 1 ms it floods the server with publish requests, which it refuses.
const MIN_PUBLISH: Duration = Duration::from_millis(20);
/// Reliability catalogue 7.2: what a hostile server may make us hold (F57).
const MESSAGE_BYTES_MAX: usize = 2 << 20;
const CHUNKS_MAX: usize = 32;
const ARRAY_MAX: usize = 8192;
/// From so many days on every connection says that our own certificate ends.
const OWN_ENDS_SOON_DAYS: i64 = 30;
const DAY_S: i64 = 86_400;

/// A session that starts once the event loop is driven, and what its connections see.
pub(super) async fn connect(
    link: &OpcuaLink,
    settings: &Settings,
) -> Result<(Arc<Session>, SessionEventLoop<Direct>, Arc<Seen>), DeviceError> {
    let own = own_certificate(link, settings).await?;
    let client = client(link, settings, own.as_ref(), -1)?;
    let endpoint = choose(link, endpoints(link, settings).await?)?;
    let vouch = vouch(link, &endpoint, own)?;
    if let Some(vouch) = &vouch {
        vouch.check().map_err(DeviceError::Certificate)?;
    }
    let seen = Arc::new(Seen::default());
    let (session, event_loop) = client
        .session_builder()
        .with_connector(Direct::new(link, settings, vouch.map(Arc::new), &seen))
        .user_identity_token(identity(link, settings)?)
        .connect_to_endpoint_directly(endpoint)
        .and_then(|builder| builder.build(client.certificate_store().clone()))
        .map_err(|error| DeviceError::Refused(error.to_string()))?;
    Ok((session, event_loop, seen))
}

/// What the server offers, whatever security this device asks for: nothing is signed, and no certificate is made. A connection of its
/// own: connect, hello, channel, request.
pub(super) async fn endpoints(link: &OpcuaLink, settings: &Settings) -> Result<Vec<EndpointDescription>, DeviceError> {
    let seen = Arc::new(Seen::default());
    let direct = Direct::new(link, settings, None, &seen);
    // One attempt: the next is made at the waiting times of a reconnect.
    let client = client(link, settings, None, 0)?;
    timeout(settings.request_timeout.saturating_mul(2), client.get_endpoints(direct, &[], &[]))
        .await
        .map_err(|_| DeviceError::TimedOut("the request for endpoints"))?
        .map_err(|error| seen.lost(error.status()))
}

/// Whether this device's security is offered.
pub(super) fn is_offered(
    link: &OpcuaLink,
    offered: &[EndpointDescription],
) -> Result<EndpointDescription, DeviceError> {
    choose(link, offered.to_vec())
}

/// Our own certificate, made where there is none; `None` where this device needs none.
pub(super) async fn own(link: &OpcuaLink, settings: &Settings) -> Result<Option<OwnCertificate>, DeviceError> {
    own_certificate(link, settings).await
}

/// Whether the certificate of this endpoint is taken, now.
pub(super) fn is_trusted(
    link: &OpcuaLink,
    endpoint: &EndpointDescription,
    own: Option<OwnCertificate>,
) -> Result<(), DeviceError> {
    let vouch = vouch(link, endpoint, own)?;
    vouch.map_or(Ok(()), |vouch| vouch.check()).map_err(DeviceError::Certificate)
}

/// The host and the port that are dialled.
pub(super) fn peer(link: &OpcuaLink) -> Result<(String, u16), DeviceError> {
    hostname_port_from_url(&link.url, DEFAULT_PORT)
        .map_err(|_| DeviceError::Refused(format!("{} is no opc.tcp URL", link.url)))
}

/// The library may connect again only when it is asked to (`Bond`): after a reconnect of its own it re-creates subscriptions and never
/// publishes to them. The keep-alive finds a peer that is silent without being gone.
fn client(
    link: &OpcuaLink,
    settings: &Settings,
    own: Option<&OwnCertificate>,
    retries: i32,
) -> Result<Client, DeviceError> {
    let again = Duration::from_millis(1);
    let (certificate, key) = own::places(link.own);
    let uri = own.map_or("urn:sealgate", |own| own.application_uri.as_str());
    // The library makes its folders whether they are needed or not: without a certificate it is sent where there can be none.
    let pki_dir = own.map_or(Path::new("/dev/null"), |_| &link.pki_dir);
    ClientBuilder::new()
        .application_name("Sealgate")
        .application_uri(uri)
        .product_uri("urn:sealgate")
        .pki_dir(pki_dir)
        .certificate_path(certificate)
        .private_key_path(key)
        .create_sample_keypair(false)
        .trust_server_certs(false)
        // Host, URI and time are ours to check: `Vouch`.
        .verify_server_certs(false)
        .session_name(format!("sealgate {}", settings.name))
        .session_retry_limit(retries)
        .session_retry_initial(again)
        .session_retry_max(again)
        .session_timeout(u32::try_from(SESSION_TIMEOUT.as_millis()).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_secs(1))
        // Ours to count: the library would close the session, which may outlive its connection.
        .max_failed_keep_alive_count(0)
        .request_timeout(settings.request_timeout)
        .publish_timeout(Duration::from_secs(10))
        .min_publish_interval(MIN_PUBLISH)
        .recreate_subscriptions(false)
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_incoming_chunk_size(CHUNK_BYTES_MAX)
        .max_chunk_count(CHUNKS_MAX)
        .max_array_length(ARRAY_MAX)
        .client()
        .map_err(|errors| DeviceError::Refused(errors.join("; ")))
}

/// None where nothing needs one; made where there is none yet.
async fn own_certificate(link: &OpcuaLink, settings: &Settings) -> Result<Option<OwnCertificate>, DeviceError> {
    if link.security.channel == Channel::None {
        return Ok(None);
    }
    // A key takes long to make, and other devices share the threads of this one.
    let pki_dir = link.pki_dir.clone();
    let pair = match link.own {
        Own::InPlace => own::ensure,
        Own::Next => own::next,
    };
    let made = spawn_blocking(move || pair(&pki_dir)).await;
    let own = made.expect("the making of a certificate does not panic").map_err(DeviceError::Certificate)?;
    let left = own.valid_until_s - now_s();
    if own.is_new {
        let file = own.certificate.display();
        tracing::warn!(device = %settings.name, %file, "our own certificate was made: every secured server has to trust it");
    }
    if left < 0 {
        let refusal = CertificateRefusal::OwnExpired { until: own.valid_until, own: own.certificate };
        return Err(DeviceError::Certificate(refusal));
    }
    if left < OWN_ENDS_SOON_DAYS * DAY_S {
        tracing::warn!(device = %settings.name, days = left / DAY_S, "our own certificate ends soon: sealgate opcua renew");
    }
    Ok(Some(own))
}

fn identity(link: &OpcuaLink, settings: &Settings) -> Result<IdentityToken, DeviceError> {
    match &link.security.user {
        None => Ok(IdentityToken::Anonymous),
        Some(User::Password { name, password }) => {
            if link.security.channel == Channel::None {
                tracing::warn!(device = %settings.name, "the password may be readable on the network: security is none");
            }
            Ok(IdentityToken::UserName(name.clone(), password.as_str().into()))
        }
        Some(User::Certificate { certificate, key }) => {
            let unreadable = |file: &Path| {
                DeviceError::Refused(format!("{} cannot be read; see user_certificate and user_key", file.display()))
            };
            let read = opcua::crypto::CertificateStore::read_cert(certificate).map_err(|_| unreadable(certificate))?;
            let key = opcua::crypto::CertificateStore::read_pkey(key).map_err(|_| unreadable(key))?;
            Ok(IdentityToken::new_x509(read, key))
        }
    }
}

/// The time of day, for certificates alone.
pub(super) fn now_s() -> i64 {
    DateTime::now().as_chrono().timestamp()
}

/// Whom a secured connection is made to, looked at again whenever one is made.
pub(super) struct Vouch {
    trust: TrustList,
    der: Vec<u8>,
    host: String,
    application_uri: String,
    own: OwnCertificate,
}

fn vouch(
    link: &OpcuaLink,
    endpoint: &EndpointDescription,
    own: Option<OwnCertificate>,
) -> Result<Option<Vouch>, DeviceError> {
    let Some(own) = own else { return Ok(None) };
    let host = match &link.certificate_host {
        Some(host) => host.clone(),
        None => {
            let parts = hostname_port_from_url(&link.url, DEFAULT_PORT);
            parts.map_err(|_| DeviceError::Refused(format!("{} is no opc.tcp URL", link.url)))?.0
        }
    };
    Ok(Some(Vouch {
        trust: TrustList::new(&link.pki_dir),
        der: endpoint.server_certificate.value.as_deref().unwrap_or_default().to_vec(),
        host,
        application_uri: endpoint.server.application_uri.as_ref().to_owned(),
        own,
    }))
}

impl Vouch {
    fn check(&self) -> Result<(), CertificateRefusal> {
        let now_s = self.trust.time_that_counts(now_s());
        let shown = Shown { der: &self.der, host: &self.host, application_uri: &self.application_uri, now_s };
        self.trust.judge(&shown)
    }
}

/// Exactly the security that was asked for, or nothing: no downgrade (F53).
fn choose(link: &OpcuaLink, offered: Vec<EndpointDescription>) -> Result<EndpointDescription, DeviceError> {
    let (policy, mode) = match link.security.channel {
        Channel::None => (SecurityPolicy::None, MessageSecurityMode::None),
        Channel::Secure { policy, mode } => (
            match policy {
                Policy::Basic256Sha256 => SecurityPolicy::Basic256Sha256,
                Policy::Aes128Sha256RsaOaep => SecurityPolicy::Aes128Sha256RsaOaep,
                Policy::Aes256Sha256RsaPss => SecurityPolicy::Aes256Sha256RsaPss,
            },
            match mode {
                MessageMode::Sign => MessageSecurityMode::Sign,
                MessageMode::SignAndEncrypt => MessageSecurityMode::SignAndEncrypt,
            },
        ),
    };
    let is_asked_for = |endpoint: &EndpointDescription| {
        endpoint.security_mode == mode
            && SecurityPolicy::from_uri(endpoint.security_policy_uri.as_ref()) == policy
            && endpoint.endpoint_url.as_ref().starts_with("opc.tcp:")
    };
    let list: Vec<String> = offered
        .iter()
        .map(|endpoint| {
            let policy = SecurityPolicy::from_uri(endpoint.security_policy_uri.as_ref());
            format!("{policy}/{}", endpoint.security_mode)
        })
        .collect();
    let mut endpoint = offered.into_iter().find(is_asked_for).ok_or_else(|| {
        DeviceError::Refused(format!(
            "the server offers {}, not {policy}/{mode}; change the security of this device or of the server",
            list.join(", ")
        ))
    })?;
    endpoint.endpoint_url = link.url.as_str().into();
    // An empty policy of a token means that of the endpoint (Part 4 §7.41); the library takes it for none, and could not sign.
    for token in endpoint.user_identity_tokens.iter_mut().flatten() {
        if token.security_policy_uri.is_empty() && token.token_type == UserTokenType::Certificate {
            token.security_policy_uri = endpoint.security_policy_uri.clone();
        }
    }
    Ok(endpoint)
}

/// Connects to the configured URL, without Nagle's delay, to the server that was vouched for.
#[derive(Clone)]
pub(super) struct Direct {
    url: String,
    limit: Duration,
    /// None where no security was asked for.
    vouch: Option<Arc<Vouch>>,
    seen: Arc<Seen>,
}

impl Connector for Direct {
    type Transport = StreamTransport<Incoming, WriteHalf<TcpStream>>;

    async fn connect(
        &self,
        channel: Arc<SecureChannelState>,
        outgoing: RequestRecv,
        config: TransportConfiguration,
    ) -> Result<Self::Transport, Error> {
        self.seen.begin(self.vouch.as_ref().map(|vouch| &vouch.own));
        if let Some(vouch) = &self.vouch
            && let Err(refusal) = vouch.check()
        {
            let said = refusal.to_string();
            self.seen.fail(DeviceError::Certificate(refusal));
            return Err(Error::new(StatusCode::BadCertificateUntrusted, said));
        }
        let open = move |url, options| self.clone().open(url, options);
        StreamConnector::new(open, self.url.clone()).connect(channel, outgoing, config).await
    }

    fn default_endpoint(&self) -> EndpointDescription {
        EndpointDescription::from(self.url.as_str())
    }
}

impl ConnectionSource for Direct {
    type Builder = Direct;

    fn get_connector(&self, _endpoint: &EndpointDescription) -> Result<Direct, Error> {
        Ok(self.clone())
    }
}

impl Direct {
    fn new(link: &OpcuaLink, settings: &Settings, vouch: Option<Arc<Vouch>>, seen: &Arc<Seen>) -> Self {
        Self { url: link.url.clone(), limit: settings.request_timeout, vouch, seen: Arc::clone(seen) }
    }

    async fn open(
        self,
        url: String,
        options: DecodingOptions,
    ) -> Result<StreamConnection<Incoming, WriteHalf<TcpStream>>, Error> {
        let (host, port) = hostname_port_from_url(&url, DEFAULT_PORT)
            .map_err(|status| Error::new(status, format!("{url} is no opc.tcp URL")))?;
        let stream = dial(&host, port, self.limit).await.map_err(|error| {
            let said = error.to_string();
            self.seen.fail(error);
            Error::new(StatusCode::BadCommunicationError, said)
        })?;
        self.seen.reach();
        let (reader, writer) = tokio::io::split(stream);
        let reader = FramedRead::new(Incoming::new(reader, self.seen), TcpCodec::new(options));
        Ok(StreamConnection::new(reader, writer, url))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::device::settings::{Own, Profile, ReadMode, Security};

    fn link(channel: Channel) -> OpcuaLink {
        OpcuaLink {
            url: "opc.tcp://10.0.0.7:4840/plc".to_owned(),
            mode: ReadMode::Poll,
            security: Security { channel, user: None },
            pki_dir: PathBuf::new(),
            own: Own::InPlace,
            certificate_host: None,
            profile: Profile::Generic,
        }
    }

    fn offer(policy: SecurityPolicy, mode: MessageSecurityMode) -> EndpointDescription {
        EndpointDescription::from(("opc.tcp://elsewhere:4840/", policy.to_uri(), mode))
    }

    #[test]
    fn takes_the_security_that_was_asked_for_and_the_host_that_was_configured() {
        let asked = Channel::Secure { policy: Policy::Aes256Sha256RsaPss, mode: MessageMode::Sign };
        let offers = vec![
            offer(SecurityPolicy::None, MessageSecurityMode::None),
            offer(SecurityPolicy::Aes256Sha256RsaPss, MessageSecurityMode::Sign),
        ];
        let endpoint = choose(&link(asked), offers).unwrap();
        assert_eq!(endpoint.security_mode, MessageSecurityMode::Sign);
        assert_eq!(endpoint.endpoint_url.as_ref(), "opc.tcp://10.0.0.7:4840/plc");
    }

    #[test]
    fn refuses_a_server_that_offers_only_less() {
        let asked = Channel::Secure { policy: Policy::Basic256Sha256, mode: MessageMode::SignAndEncrypt };
        let offers = vec![
            offer(SecurityPolicy::None, MessageSecurityMode::None),
            offer(SecurityPolicy::Basic256Sha256, MessageSecurityMode::Sign),
        ];
        let error = choose(&link(asked), offers).unwrap_err().to_string();
        assert!(error.contains("Basic256Sha256/Sign, not Basic256Sha256/SignAndEncrypt"), "{error}");
    }
}
