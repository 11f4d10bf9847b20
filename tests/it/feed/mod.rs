//! The feed against brokers that misbehave (group H of the fault catalogue): a scripted one, and mosquitto.

#![allow(clippy::disallowed_methods, reason = "tests measure how long a peer was waited for")]

mod answers;
mod broker;
mod commands;
mod links;
mod mosquitto;
mod outage;
mod quarantine;
mod rig;
mod site;
