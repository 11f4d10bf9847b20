//! Which server, and by which way in: a URL with options, or a device of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::outcome::{Exit, Failure};
use crate::cli::probe::block_on;
use crate::cli::{Shared, print, source};
use crate::device::opcua_look::{self, Offer};
use crate::device::{
    CertificateRefusal, Channel, DeviceError, Link, MessageMode, OpcuaLink, Policy, Security, Settings, User,
};

/// What every question to a server may be told.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// `opc.tcp://HOST:PORT/PATH`, or the name of a device in the configuration
    #[arg(value_name = "URL|DEVICE", value_parser = server)]
    server: String,
    /// none, Basic256Sha256, Aes128Sha256RsaOaep or Aes256Sha256RsaPss
    #[arg(long, value_name = "POLICY", value_parser = policy)]
    security: Option<Chosen>,
    /// Sign messages and leave them readable; without it they are signed and encrypted
    #[arg(long)]
    sign_only: bool,
    /// The user's name; without it the anonymous user
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// A file whose first line is the user's password
    #[arg(long, value_name = "FILE", requires = "username")]
    password_file: Option<PathBuf>,
    /// The folder with our certificate and the trusted ones; default: pki
    #[arg(long, value_name = "DIR")]
    pki: Option<PathBuf>,
    /// The bound on every request
    #[arg(long, value_name = "MS", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    timeout_ms: u64,
}

/// `None` is the policy none.
#[derive(Clone, Copy, Debug)]
struct Chosen(Option<Policy>);

const POLICIES: [(&str, Option<Policy>); 4] = [
    ("none", None),
    ("Basic256Sha256", Some(Policy::Basic256Sha256)),
    ("Aes128Sha256RsaOaep", Some(Policy::Aes128Sha256RsaOaep)),
    ("Aes256Sha256RsaPss", Some(Policy::Aes256Sha256RsaPss)),
];

fn policy(word: &str) -> Result<Chosen, String> {
    let known = POLICIES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    let names = || POLICIES.map(|(name, _)| name).join(", ");
    known.map(|(_, policy)| Chosen(*policy)).ok_or_else(|| format!("one of {} is expected", names()))
}

/// A URL with a host and a port that a server can have; or what can be the name of a device.
fn server(word: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let is_good = match word.strip_prefix("opc.tcp://") {
        None => !word.is_empty() && word.chars().all(is_plain),
        Some(rest) => {
            let place = rest.split('/').next().unwrap_or_default();
            // The colons of an IPv6 address lie in brackets.
            let at = place.rfind(']').map_or(0, |at| at + 1);
            let (host, port) = match place.get(at..).and_then(|behind| behind.find(':')) {
                Some(colon) => place.split_at(at + colon),
                None => (place, ":4840"),
            };
            !host.is_empty() && port.get(1..).and_then(|port| port.parse::<u16>().ok()).is_some_and(|port| port > 0)
        }
    };
    let wrong =
        || "opc.tcp://HOST:PORT/PATH with a port from 1 to 65535 is expected, or the name of a device".to_owned();
    is_good.then(|| word.to_owned()).ok_or_else(wrong)
}

/// What can name a node.
pub(super) fn node(word: &str) -> Result<String, String> {
    let wrong = || "nsu=URI;s=NAME is expected (or i=, g=, b= for s=), or ns=NUMBER;s=NAME".to_owned();
    opcua_look::is_node(word).then(|| word.to_owned()).ok_or_else(wrong)
}

impl Target {
    /// What the device task would be told. Asks a server that is named by URL alone what it offers.
    pub(super) fn settings(&self, shared: &Shared) -> Result<Settings, Failure> {
        if !self.server.starts_with("opc.tcp://") {
            return self.of_config(shared);
        }
        let user = self.user()?;
        let plain = self.alone(Channel::None, None);
        let channel = match self.security {
            Some(Chosen(None)) => Channel::None,
            Some(Chosen(Some(policy))) => Channel::Secure { policy, mode: self.mode() },
            None => self.without(&plain, user.is_some())?,
        };
        Ok(self.alone(channel, user))
    }

    /// The same, and nothing is asked of the server: without --security none is meant.
    pub(super) fn settings_unasked(&self, shared: &Shared) -> Result<Settings, Failure> {
        match (self.server.starts_with("opc.tcp://"), self.security) {
            (true, None) => Ok(self.alone(Channel::None, self.user()?)),
            (_, _) => self.settings(shared),
        }
    }

    fn of_config(&self, shared: &Shared) -> Result<Settings, Failure> {
        let config = source::config(shared)?;
        let speaks = |device: &&Settings| matches!(device.link, Link::Opcua(_));
        let found = config.devices.iter().filter(speaks).find(|device| device.name == self.server);
        found.cloned().ok_or_else(|| {
            let known: Vec<&str> = config.devices.iter().filter(speaks).map(|device| device.name.as_str()).collect();
            Exit::Usage.failure(format!(
                "{} is neither a URL (opc.tcp://HOST:PORT) nor a device of {} that speaks OPC UA; there are: {}",
                self.server,
                shared.config.display(),
                known.join(", ")
            ))
        })
    }

    fn alone(&self, channel: Channel, user: Option<User>) -> Settings {
        let pki = self.pki.clone().unwrap_or_else(|| PathBuf::from("pki"));
        let link = OpcuaLink::to(&self.server, Security { channel, user }, pki);
        Settings::alone(Link::Opcua(link), Duration::from_millis(self.timeout_ms))
    }

    fn mode(&self) -> MessageMode {
        if self.sign_only { MessageMode::Sign } else { MessageMode::SignAndEncrypt }
    }

    fn user(&self) -> Result<Option<User>, Failure> {
        let Some(name) = self.username.clone() else { return Ok(None) };
        let Some(file) = &self.password_file else { return Ok(Some(User::Password { name, password: String::new() })) };
        let text = std::fs::read_to_string(file)
            .map_err(|error| Exit::Io.failure(format!("{}: cannot be read ({error})", file.display())))?;
        Ok(Some(User::Password { name, password: text.lines().next().unwrap_or_default().to_owned() }))
    }

    /// Nobody said how: without security where the server takes that, aloud; never with a password.
    fn without(&self, plain: &Settings, has_user: bool) -> Result<Channel, Failure> {
        let offers = answered(plain, block_on(opcua_look::offers(plain)))?;
        let takes_none = offers.iter().any(|offer| offer.policy.eq_ignore_ascii_case("none"));
        if takes_none && !has_user {
            print::problem("no --security given: this look is neither signed nor encrypted");
            return Ok(Channel::None);
        }
        let why = if has_user { "a user name needs --security" } else { "the server takes no look without security" };
        Err(Exit::Usage.failure(format!("{why}; it offers {}", listed(&offers))))
    }
}

fn listed(offers: &[Offer]) -> String {
    let mut ways: Vec<String> = offers.iter().map(|offer| format!("{}/{}", offer.policy, offer.mode)).collect();
    ways.dedup();
    if ways.is_empty() { "nothing".to_owned() } else { ways.join(", ") }
}

/// The answer, or who did not give it and what helps.
pub(super) fn answered<T>(settings: &Settings, answer: Result<T, DeviceError>) -> Result<T, Failure> {
    answer.map_err(|error| {
        let (exit, hint) = match &error {
            DeviceError::Unreachable(_) => {
                (Exit::Unreachable, "; is it on, is the address right, does a firewall stand between?")
            }
            DeviceError::TimedOut(_) => (Exit::Unreachable, "; is the address right? --timeout-ms for a slow one"),
            DeviceError::Certificate(CertificateRefusal::OwnUnusable { .. } | CertificateRefusal::Folder { .. }) => {
                (Exit::Io, "; --pki DIR names a folder of this user")
            }
            DeviceError::Refused(_)
            | DeviceError::Away(_)
            | DeviceError::Lost(_)
            | DeviceError::Protocol(_)
            | DeviceError::Signature(_)
            | DeviceError::Deaf
            | DeviceError::StoodStill
            | DeviceError::ClockStill
            | DeviceError::Certificate(_) => (Exit::Unreachable, ""),
        };
        exit.failure(format!("{}: {error}{hint}", settings.name))
    })
}
