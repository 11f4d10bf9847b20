//! The command line: reads what a person typed, calls the right module, prints the answer and says by its exit code how it went.
//!
//! One file per command. Commands that only read take `--db FILE` and then need no daemon; all others speak to the daemon over its
//! local socket. Every command that prints data prints JSON with `--json`.

mod alarm;
mod audit;
mod batch;
mod check;
mod config;
mod demo;
mod feed;
mod live;
mod lockstep;
mod log;
mod login;
mod modbus;
mod online;
mod opcua_tools;
mod outcome;
mod print;
mod probe;
mod prompt;
mod registers;
mod rules;
mod run;
mod schema;
#[cfg(feature = "demo")]
mod screen;
mod serials;
mod session;
mod sign;
mod sim;
mod simulate;
mod source;
mod status;
mod store;
mod tap;
mod trace;
mod user;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

pub use demo::DemoArgs;
use outcome::{Exit, Outcome};

const TEACHES: &str = "\
First steps:
  sealgate demo                                a simulated line, live in this terminal
  sealgate check --config line.toml            every problem of a configuration, with line and hint
  sealgate run --config line.toml              the daemon; systemd runs it as sealgate@LINE.service
  sealgate status                              the running line, now

Exit codes:
  0 done   1 the answer is no   64 usage   69 unreachable   74 input/output   75 another daemon or renewal is at work   78 configuration";

/// Line controller for a serialized packaging line: verifies every unit, gates every case and pallet, loses nothing.
#[derive(Debug, Parser)]
#[command(name = "sealgate", version, after_help = TEACHES, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

/// What every command may be told.
#[derive(Debug, Clone, Args)]
pub struct Shared {
    /// The configuration of the line
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/sealgate/line.toml")]
    config: PathBuf,
    /// The daemon's local socket, where the configuration cannot be read or another line is meant
    #[arg(long, global = true, value_name = "FILE")]
    socket: Option<PathBuf>,
    /// Print JSON: one object, or an array
    #[arg(long, global = true)]
    json: bool,
}

/// What every command that only reads may be told.
#[derive(Debug, Clone, Default, Args)]
pub struct Journals {
    /// Read this journal instead of asking the daemon; may be given more than once
    #[arg(long, value_name = "FILE")]
    db: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A simulated line over real OPC UA and Modbus, an embedded broker, and the daemon beside it
    Demo(demo::DemoArgs),
    /// Simulated devices for exactly one configuration: a dry run before the line exists
    Sim(sim::SimArgs),
    /// The deterministic simulator: many lines in virtual time, with faults
    Simulate(simulate::SimulateArgs),
    /// The daemon
    Run(run::RunArgs),
    /// Every problem of a configuration, with file, line and hint
    Check(check::CheckArgs),
    /// The line now
    Status(status::StatusArgs),
    /// Production orders: load, start, stop, close, list, show
    Batch(batch::BatchArgs),
    /// Everything known about one unit or container
    Trace(trace::TraceArgs),
    /// What the line waits for: list, ack
    Alarm(alarm::AlarmArgs),
    /// The feed to the broker: status, replay
    Feed(feed::FeedArgs),
    /// Prove a journal and look at what stands out: verify, review, key
    Audit(audit::AuditArgs),
    /// People: init, add, list, roles, disable, enable, passwd, reset, recover, unlock
    User(user::UserArgs),
    /// Electronic signatures: close, review
    Sign(sign::SignArgs),
    /// Begin a session with the running daemon
    Login(login::LoginArgs),
    /// End it
    Logout(login::LogoutArgs),
    /// Serials after a restore: used, confirm
    Serials(serials::SerialsArgs),
    /// A small batch over a journal on disk, step by step, the daemon in a process that may die at any call
    #[command(hide = true)]
    Lockstep(lockstep::LockstepArgs),
    /// The journal's own care: check, backup, restore, salvage, rebuild
    Store(store::StoreArgs),
    /// JSON Schemas of the feed
    Schema(schema::SchemaArgs),
    /// The rules that a line keeps: class, citation, parameters
    Rules(rules::RulesArgs),
    /// What passes through the running daemon, live: tags, observations, facts
    Tap(tap::TapArgs),
    /// The JSON Schema of the configuration and of tag maps, for editors
    Config(config::ConfigArgs),
    /// An OPC UA server from the technician's side: browse, read
    Opcua(opcua_tools::OpcuaArgs),
    /// A Modbus TCP device from the technician's side: read, scan
    Modbus(modbus::ModbusArgs),
}

/// The whole program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not errors. A closed pipe is nobody's fault.
            let _ = error.print();
            return usage_exit(error.kind()).into();
        }
    };
    match dispatch(cli.command, &cli.shared) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            print::problem(&failure.text);
            failure.exit.into()
        }
    }
}

fn usage_exit(kind: ErrorKind) -> Exit {
    // The enum is clap's and grows; whatever else it complains about is usage.
    if matches!(kind, ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) { Exit::Done } else { Exit::Usage }
}

fn dispatch(command: Command, shared: &Shared) -> Outcome {
    match command {
        Command::Demo(args) => demo::run(args, shared),
        Command::Simulate(args) => simulate::run(&args, shared),
        Command::Sim(args) => sim::run(&args, shared),
        Command::Run(args) => run::run(args, shared),
        Command::Check(args) => check::run(&args, shared),
        Command::Status(args) => status::run(&args, shared),
        Command::Batch(args) => batch::run(args, shared),
        Command::Trace(args) => trace::run(args, shared),
        Command::Alarm(args) => alarm::run(args, shared),
        Command::Feed(args) => feed::run(args, shared),
        Command::Audit(args) => audit::run(&args, shared),
        Command::User(args) => user::run(args, shared),
        Command::Sign(args) => sign::run(args, shared),
        Command::Login(args) => login::log_in(&args, shared),
        Command::Logout(args) => login::log_out(&args, shared),
        Command::Serials(args) => serials::run(args, shared),
        Command::Lockstep(args) => lockstep::run(args, shared),
        Command::Store(args) => store::run(args, shared),
        Command::Schema(args) => schema::run(&args, shared),
        Command::Rules(args) => rules::run(&args, shared),
        Command::Tap(args) => tap::run(&args, shared),
        Command::Config(args) => config::run(&args, shared),
        Command::Opcua(args) => opcua_tools::run(&args, shared),
        Command::Modbus(args) => modbus::run(&args, shared),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_is_an_answer_and_a_misspelt_command_is_usage() {
        let kind = |line: &[&str]| Cli::try_parse_from(line).map(|_| ()).expect_err("no command runs").kind();
        assert_eq!(usage_exit(kind(&["sealgate", "--help"])), Exit::Done);
        assert_eq!(usage_exit(kind(&["sealgate", "--version"])), Exit::Done);
        for line in
            [&["sealgate"][..], &["sealgate", "statsu"], &["sealgate", "trace"], &["sealgate", "alarm", "ack", "x"]]
        {
            assert_eq!(usage_exit(kind(line)), Exit::Usage, "{line:?}");
        }
    }

    #[test]
    fn every_command_teaches_by_an_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                help.contains(&format!("sealgate {}", command.get_name())),
                "{} has no example",
                command.get_name()
            );
        }
    }

    #[test]
    fn shared_arguments_may_stand_before_and_behind_the_command() {
        for line in [["sealgate", "--json", "status"], ["sealgate", "status", "--json"]] {
            let cli = Cli::try_parse_from(line).expect("both are usual");
            assert!(cli.shared.json, "{line:?}");
        }
    }
}
