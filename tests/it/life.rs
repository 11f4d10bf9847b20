//! The life of a batch as the command line tells it, over kills of the daemon.

use crate::daemon::Site;

fn done(site: &Site, line: &[&str]) {
    let said = site.run(line);
    assert_eq!((said.code, said.out.as_str()), (0, "done\n"), "{line:?}: {}", said.err);
}

fn refused(site: &Site, line: &[&str], why: &str) {
    let said = site.run(line);
    assert_eq!(said.code, 1, "{line:?}: {}", said.out);
    assert!(said.err.contains(why), "{line:?}: {}", said.err);
}

fn state(site: &Site) -> String {
    site.json(&["batch", "show", "B1"])["state"].as_str().expect("a state").to_owned()
}

#[test]
fn a_closed_batch_is_reopened_over_a_kill_and_closes_again() {
    let site = Site::new();
    let daemon = site.start();
    done(&site, &["batch", "load", "order.json"]);
    refused(&site, &["batch", "reopen", "B1", "--reason", "early"], "is loaded");
    refused(&site, &["batch", "reopen", "B9", "--reason", "unknown"], "never loaded");
    done(&site, &["batch", "close", "B1"]);
    let closed = site.json(&["batch", "show", "B1"])["closed_seq"].clone();
    done(&site, &["batch", "reopen", "B1", "--reason", "the count was wrong"]);
    refused(&site, &["batch", "reopen", "B1", "--reason", "again"], "is stopped");
    let shown = site.json(&["batch", "show", "B1"]);
    assert_eq!((&shown["state"], &shown["closed_seq"]), (&"stopped".into(), &serde_json::Value::Null), "{shown}");
    daemon.kill();
    let daemon = site.start();
    assert_eq!(state(&site), "stopped");
    done(&site, &["batch", "close", "B1"]);
    let again = site.json(&["batch", "show", "B1"]);
    assert!(again["closed_seq"].as_u64() > closed.as_u64(), "{again}");
    done(&site, &["batch", "reopen", "B1", "--reason", "once more"]);
    done(&site, &["batch", "close", "B1"]);
    assert_eq!(daemon.terminate().code(), Some(0));
    assert_eq!(site.run(&["audit", "verify"]).code, 0);
    let made = site.run(&["store", "rebuild", "--check"]);
    assert_eq!(made.code, 0, "{}{}", made.out, made.err);
}

#[test]
fn an_order_that_was_aborted_is_gone_for_ever() {
    let site = Site::new();
    let daemon = site.start();
    done(&site, &["batch", "load", "order.json"]);
    assert_eq!(site.run(&["batch", "abort", "B1"]).code, 64, "nobody said why");
    for step in ["purge", "resume"] {
        refused(&site, &["batch", step, "B1"], "is loaded");
    }
    refused(&site, &["batch", "hold", "B1", "--reason", "smell"], "is loaded");
    done(&site, &["batch", "abort", "B1", "--reason", "cancelled"]);
    let again = site.run(&["batch", "abort", "B1", "--reason", "cancelled"]);
    assert_eq!(again.out, "nothing to change\n", "{}", again.err);
    refused(&site, &["batch", "close", "B1"], "never loaded");
    refused(&site, &["batch", "load", "order.json"], "loaded before");
    refused(&site, &["batch", "reopen", "B1", "--reason", "no"], "is aborted");
    daemon.kill();
    let _daemon = site.start();
    assert_eq!(state(&site), "aborted");
    assert_eq!(site.json(&["status"])["batches_loaded"], serde_json::json!([]));
}
