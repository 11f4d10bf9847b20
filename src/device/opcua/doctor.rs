//! What stands between this device and its first value: one check after the other, each with what was found and, where it failed,
//! what to do on our side and on the server's.
//!
//! Contract: the checks go the way of a real connection and use its code, so that what passes here works there; after the first one
//! that fails the rest is not looked at, but for the tags, which are all told. Nothing is written to the server. Where a secured
//! connection would make our certificate or lay the server's into `pending`, this does too.

use std::collections::BTreeSet;

use opcua::types::{EndpointDescription, NamespaceMap, UserTokenType};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{connect, look, nodes::resolve, value};
use crate::{
    device::{
        error::DeviceError,
        refusal::CertificateRefusal,
        settings::{Address, Binding, Channel, OpcuaLink, Settings, User},
    },
    domain::tag::{Access, Quality, StationId},
};

/// One check, in the order in which they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    Name,
    Tcp,
    Endpoints,
    Policy,
    User,
    OurCertificate,
    ServerCertificate,
    Session,
    Namespaces,
    Tags,
}

impl Check {
    pub const ALL: [Check; 10] = [
        Check::Name,
        Check::Tcp,
        Check::Endpoints,
        Check::Policy,
        Check::User,
        Check::OurCertificate,
        Check::ServerCertificate,
        Check::Session,
        Check::Namespaces,
        Check::Tags,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Check::Name => "name",
            Check::Tcp => "tcp",
            Check::Endpoints => "endpoints",
            Check::Policy => "security",
            Check::User => "user",
            Check::OurCertificate => "our certificate",
            Check::ServerCertificate => "server certificate",
            Check::Session => "session",
            Check::Namespaces => "namespaces",
            Check::Tags => "tags",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub check: Check,
    /// `None`: not looked at, since an earlier check failed.
    pub is_good: Option<bool>,
    pub found: String,
    /// What to do in the configuration, or on this machine; empty where nothing can be done here.
    pub here: String,
    /// What to do at the server, or at what lies between.
    pub there: String,
}

/// Why a check failed.
struct Failed {
    found: String,
    here: String,
    there: String,
}

fn failed(found: impl Into<String>, here: impl Into<String>, there: impl Into<String>) -> Failed {
    Failed { found: found.into(), here: here.into(), there: there.into() }
}

/// All checks of one device.
pub async fn examine(settings: &Settings) -> Result<Vec<Finding>, DeviceError> {
    let link = look::link(settings)?;
    let mut patient = Patient { link, settings, offered: Vec::new(), chosen: None };
    let mut findings = Vec::new();
    let mut is_over = false;
    for check in Check::ALL {
        if is_over {
            let found = "not looked at".to_owned();
            findings.push(Finding { check, is_good: None, found, here: String::new(), there: String::new() });
            continue;
        }
        let (found, here, there, is_good) = match patient.make(check).await {
            Ok(found) => (found, String::new(), String::new(), true),
            Err(Failed { found, here, there }) => (found, here, there, false),
        };
        is_over = !is_good;
        findings.push(Finding { check, is_good: Some(is_good), found, here, there });
    }
    Ok(findings)
}

struct Patient<'a> {
    link: &'a OpcuaLink,
    settings: &'a Settings,
    offered: Vec<EndpointDescription>,
    chosen: Option<EndpointDescription>,
}

type Made = Result<String, Failed>;

impl Patient<'_> {
    async fn make(&mut self, check: Check) -> Made {
        match check {
            Check::Name => self.name().await,
            Check::Tcp => self.tcp().await,
            Check::Endpoints => self.endpoints().await,
            Check::Policy => self.policy(),
            Check::User => self.user(),
            Check::OurCertificate => self.our_certificate().await,
            Check::ServerCertificate => self.server_certificate().await,
            Check::Session => self.session().await,
            Check::Namespaces => self.namespaces().await,
            Check::Tags => self.tags().await,
        }
    }

    fn peer(&self) -> Result<(String, u16), Failed> {
        connect::peer(self.link)
            .map_err(|error| failed(error.to_string(), "correct `url`: opc.tcp://HOST:PORT/PATH", ""))
    }

    async fn name(&self) -> Made {
        let (host, port) = self.peer()?;
        let found = lookup_host((host.as_str(), port)).await.map(|addresses| addresses.collect::<Vec<_>>());
        match found {
            Ok(addresses) if !addresses.is_empty() => Ok(format!("{host} is {}", addresses[0].ip())),
            Ok(_) | Err(_) => Err(failed(
                format!("{host} has no address"),
                "write the address instead of the name into `url`, or add the name to /etc/hosts or to the name server",
                "compare with the name or the address that the device shows in its own network settings",
            )),
        }
    }

    async fn tcp(&self) -> Made {
        let (host, port) = self.peer()?;
        let here = format!("correct host and port of `url`; let this machine's firewall pass {port} outwards");
        let there = |what: &str| format!("{what}; most servers listen on 4840");
        match timeout(self.settings.request_timeout, TcpStream::connect((host.as_str(), port))).await {
            Ok(Ok(_)) => Ok(format!("{host}:{port} accepts connections")),
            Ok(Err(error)) => {
                let found = format!("{host}:{port}: {error}");
                Err(failed(found, here, there("switch the OPC UA server on, and look at the port that it is set to")))
            }
            Err(_) => {
                let found = format!("{host}:{port} does not answer");
                Err(failed(
                    found,
                    here,
                    there("is it on, is the cable in, is it in this network, is a firewall between?"),
                ))
            }
        }
    }

    async fn endpoints(&mut self) -> Made {
        match connect::endpoints(self.link, self.settings).await {
            Ok(offered) if !offered.is_empty() => {
                let ways: BTreeSet<String> = offered.iter().map(way).collect();
                self.offered = offered;
                Ok(ways.into_iter().collect::<Vec<_>>().join(", "))
            }
            Ok(_) => Err(failed("the server offers nothing", "", "enable at least one security policy at the server")),
            Err(error) => Err(failed(
                error.to_string(),
                "is it an OPC UA server (opc.tcp) that listens there? raise request_timeout_ms for a slow one",
                "restart its OPC UA server; look at its list of open connections",
            )),
        }
    }

    fn policy(&mut self) -> Made {
        match connect::is_offered(self.link, &self.offered) {
            Ok(endpoint) => {
                let found = way(&endpoint);
                self.chosen = Some(endpoint);
                Ok(found)
            }
            Err(error) => Err(failed(
                error.to_string(),
                "set `security` and `message_mode` to one of these; \"none\" only where the network is protected",
                "enable the policy that the configuration asks for",
            )),
        }
    }

    fn user(&self) -> Made {
        let tokens: Vec<UserTokenType> =
            self.chosen.iter().flat_map(|e| e.user_identity_tokens.iter().flatten()).map(|t| t.token_type).collect();
        let (wanted, name, here) = match &self.link.security.user {
            None => (UserTokenType::Anonymous, "anonymous", "set `username` and `password_file`"),
            Some(User::Password { .. }) => {
                (UserTokenType::UserName, "user name", "take `username` out, or use a user's certificate")
            }
            Some(User::Certificate { .. }) => {
                (UserTokenType::Certificate, "user certificate", "use `username` and `password_file`")
            }
        };
        if tokens.contains(&wanted) {
            return Ok(format!("{name} is allowed"));
        }
        Err(failed(format!("{name} is not allowed at this endpoint"), here, format!("allow {name} there")))
    }

    async fn our_certificate(&self) -> Made {
        match connect::own(self.link, self.settings).await {
            Ok(None) => Ok("not needed without security".to_owned()),
            Ok(Some(own)) => {
                let age = if own.is_new { "made just now; " } else { "" };
                Ok(format!("{age}{}, valid until {}", own.certificate.display(), own.valid_until))
            }
            Err(error) => {
                let (here, there) = remedy(&error);
                Err(failed(error.to_string(), here, there))
            }
        }
    }

    async fn server_certificate(&self) -> Made {
        if self.link.security.channel == Channel::None {
            return Ok("not needed without security".to_owned());
        }
        let Some(endpoint) = &self.chosen else { return Ok(String::new()) };
        let own = connect::own(self.link, self.settings).await.ok().flatten();
        match connect::is_trusted(self.link, endpoint, own) {
            Ok(()) => Ok("trusted, in time, and made for this host".to_owned()),
            Err(error) => {
                let (here, there) = remedy(&error);
                Err(failed(error.to_string(), here, there))
            }
        }
    }

    async fn session(&self) -> Made {
        match look::ask(self.settings, async |_, _| Ok(())).await {
            Ok(()) => Ok("created and activated".to_owned()),
            Err(error) => {
                let (here, there) = remedy(&error);
                Err(failed(error.to_string(), here, there))
            }
        }
    }

    async fn namespaces(&self) -> Made {
        let known = look::namespaces(self.settings).await.map_err(|error| failed(error.to_string(), "", ""))?;
        let missing: BTreeSet<&str> = self
            .bindings()
            .filter_map(|(_, binding)| uri(binding))
            .filter(|uri| !known.iter().any(|k| k == uri))
            .collect();
        if self.bindings().next().is_none() {
            return Ok(join(known.iter().map(String::as_str)));
        }
        if missing.is_empty() {
            return Ok(format!("{} namespaces, every one of the map among them", known.len()));
        }
        Err(failed(
            format!("{} is not there; there are: {}", join(missing), join(known.iter().map(String::as_str))),
            "correct the URI behind nsu= in the tag map; `sealgate opcua browse` shows the right ones",
            "load the project that has this namespace, and check that its variables are published over OPC UA",
        ))
    }

    async fn tags(&self) -> Made {
        if self.bindings().next().is_none() {
            return Ok(
                "none: only a device of a configuration has tags (--config FILE, and its name for the URL)".to_owned()
            );
        }
        let told = look::ask(self.settings, async |session, namespaces| {
            let mut flaws = Vec::new();
            let bindings: Vec<(StationId, &Binding)> = self.bindings().collect();
            let nodes: Vec<String> = bindings.iter().filter_map(|(_, binding)| node(binding)).collect();
            let values = look::values(session, self.settings, namespaces, &nodes).await?;
            for ((_, binding), data) in bindings.iter().filter(|(_, b)| node(b).is_some()).zip(&values) {
                flaws.extend(flaw(binding, data, namespaces));
            }
            Ok((bindings.len(), flaws))
        });
        match told.await {
            Ok((count, flaws)) if flaws.is_empty() => Ok(format!("{count} tags, all good")),
            Ok((count, flaws)) => Err(failed(
                format!("{} of {count} are not good: {}", flaws.len(), flaws.join("; ")),
                "correct node, type, length or count in the tag map; `sealgate opcua read` shows what is there",
                "publish the variable, give our user the right to read it (and to write what the line writes)",
            )),
            Err(error) => Err(failed(error.to_string(), "raise request_timeout_ms for a slow server", "")),
        }
    }

    fn bindings(&self) -> impl Iterator<Item = (StationId, &Binding)> {
        let tags = self.settings.stations.iter();
        tags.flat_map(|tags| tags.bindings.iter().map(move |binding| (tags.station, binding)))
    }
}

fn way(endpoint: &EndpointDescription) -> String {
    let uri = endpoint.security_policy_uri.as_ref();
    format!("{}/{}", uri.rsplit('#').next().unwrap_or(uri), endpoint.security_mode)
}

fn node(binding: &Binding) -> Option<String> {
    match &binding.address {
        Address::Node(node) => Some(node.clone()),
        Address::Register(_)
        | Address::Input(_)
        | Address::Coil(_)
        | Address::Discrete(_)
        | Address::Answer(_)
        | Address::Command { .. }
        | Address::Made => None,
    }
}

fn uri(binding: &Binding) -> Option<&str> {
    let Address::Node(node) = &binding.address else { return None };
    let named = node.strip_prefix("nsu=")?;
    let cut = [";s=", ";i=", ";g=", ";b="].iter().filter_map(|mark| named.find(mark)).min()?;
    named.get(..cut)
}

fn join<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    texts.into_iter().collect::<Vec<_>>().join(", ")
}

fn flaw(binding: &Binding, data: &opcua::types::DataValue, namespaces: &NamespaceMap) -> Option<String> {
    if let Err(status) = resolve(&binding.address, namespaces) {
        return Some(format!("{}: {status}", binding.tag));
    }
    let reading = value::readings(binding, data).into_iter().next()?;
    match reading.quality {
        Quality::Good => None,
        // What the line writes may be empty until it was written once.
        Quality::Bad(0) if binding.tag.access() == Access::Write && data.value.is_none() => None,
        Quality::Bad(0) => Some(format!("{}: {} is not what the map says", binding.tag, look::shown_of(data).kind)),
        Quality::Bad(_) | Quality::Uncertain(_) => {
            Some(format!("{}: {}", binding.tag, data.status.unwrap_or_default()))
        }
    }
}

/// What a person does about a refused connection: here, and at the server.
fn remedy(error: &DeviceError) -> (&'static str, &'static str) {
    let DeviceError::Certificate(refusal) = error else { return plain_remedy(error) };
    match refusal {
        CertificateRefusal::Unknown { .. } => (
            "compare the thumbprint with what the server shows, then `sealgate opcua trust add THUMBPRINT`",
            "show its certificate's thumbprint",
        ),
        CertificateRefusal::Rejected { .. } => {
            ("`sealgate opcua trust add THUMBPRINT`, if it was rejected by mistake", "who put a new certificate there?")
        }
        CertificateRefusal::Expired { .. } | CertificateRefusal::NotYetValid { .. } => (
            "set the clock of this machine right; then trust the new certificate",
            "set its clock right; make a new certificate there",
        ),
        CertificateRefusal::WrongHost { .. } => (
            "put a name of the certificate into `url`, or say `certificate_host`",
            "make a certificate with the name or address by which it is dialled",
        ),
        CertificateRefusal::WrongApplicationUri { .. } | CertificateRefusal::WeakKey { .. } => {
            ("trust the new certificate then", "make a new certificate there, with at least 2048 bits")
        }
        CertificateRefusal::Missing | CertificateRefusal::Unreadable => ("", "make a certificate there"),
        CertificateRefusal::OursRefused { .. } => (
            "give our certificate (own/ in `pki_dir`) to who keeps the server",
            "move our certificate from rejected or pending into its list of trusted clients",
        ),
        CertificateRefusal::OwnExpired { .. } => {
            ("`sealgate opcua renew`", "trust the new certificate, which that command names")
        }
        CertificateRefusal::OwnUnusable { .. } => (
            "let the line's user own the folder `pki_dir`; restore the pair, or `sealgate opcua renew`",
            "trust the new certificate where one is made",
        ),
        CertificateRefusal::Folder { .. } => ("let the line's user own the folder `pki_dir`", ""),
    }
}

fn plain_remedy(error: &DeviceError) -> (&'static str, &'static str) {
    match error {
        DeviceError::Refused(_) => (
            "check `username` and the first line of `password_file`",
            "check the user and his rights; too many sessions? many servers take two or three",
        ),
        DeviceError::TimedOut(_) => ("raise request_timeout_ms", "is it overloaded? restart its OPC UA server"),
        DeviceError::Unreachable(_)
        | DeviceError::Away(_)
        | DeviceError::Certificate(_)
        | DeviceError::Lost(_)
        | DeviceError::Protocol(_)
        | DeviceError::Signature(_)
        | DeviceError::Deaf
        | DeviceError::ClockStill
        | DeviceError::StoodStill => ("ask again", "look at its log"),
    }
}
