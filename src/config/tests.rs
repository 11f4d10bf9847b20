//! The public face: what a good file becomes. What bad files say is in `tests/data/config`.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::device::{Address, Link, Split, ValueType};
use crate::domain::pack::{Gate, PackLevel};
use crate::domain::tag::{StationKind, Tag};
use crate::engine::Role;
use crate::engine::decide::Decide;
use crate::station::VerdictForm;

fn good() -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config/good.toml");
    load(&path).unwrap_or_else(|error| panic!("{error}"))
}

fn station(config: &Config, kind: StationKind) -> &Station {
    config.stations.iter().find(|station| station.settings.kind == kind).expect("the file has one of each kind")
}

#[test]
fn a_good_file_has_no_warnings_and_everything_in_it() {
    let config = good();
    assert_eq!(config.warnings, []);
    assert_eq!(config.line.name.as_str(), "line3");
    assert_eq!(config.line.path, "acme/plant7/line3");
    assert_eq!(config.line.utc_offset_min, 60);
    assert!(config.journal.ends_with("tests/data/config/line3.db"));
    let mqtt = config.mqtt.as_ref().expect("it has a section [mqtt]");
    assert_eq!((mqtt.host.as_str(), mqtt.port, mqtt.client_id.as_str()), ("broker", 1883, "sealgate-line3"));
    assert_eq!(config.stations.len(), 5);
}

#[test]
fn identifiers_are_indices_in_the_order_of_the_file() {
    let config = good();
    let names: Vec<&str> = config.devices.iter().map(|device| device.name.as_str()).collect();
    assert_eq!(names, ["coder", "vision", "plc"]);
    for (index, device) in config.devices.iter().enumerate() {
        assert_eq!(usize::from(device.device.0), index);
    }
    for (index, station) in config.stations.iter().enumerate() {
        assert_eq!(usize::from(station.settings.id.0), index);
    }
    let rejector = station(&config, StationKind::Rejector).settings.id;
    let camera = station(&config, StationKind::Camera);
    assert_eq!(camera.settings.partner, Some(rejector));
    let spec = &config.engine.stations[usize::from(camera.settings.id.0)];
    assert_eq!(spec.name.as_str(), "camera");
    assert!(
        matches!(spec.role, Role::Camera { rejector: r, grade_min_milli: 1500, verdict_deadline_us: 400_000, decide: Decide::Line } if r == rejector),
        "{spec:?}"
    );
}

#[test]
fn tags_reach_the_device_that_carries_them() {
    let config = good();
    let plc = &config.devices[2];
    assert!(matches!(&plc.link, Link::Modbus(link) if link.port == 1502 && link.unit == 7));
    assert_eq!(plc.poll, Duration::from_millis(10));
    let kinds: Vec<StationKind> = plc.stations.iter().map(|tags| tags.kind).collect();
    assert_eq!(kinds, [StationKind::Packer, StationKind::Palletizer]);
    let children = plc.stations[0].bindings.iter().find(|binding| binding.tag == Tag::Children).expect("it is mapped");
    assert_eq!(children.value, ValueType::Texts { length: 40, count: 4, pad: crate::device::Pad::Zero });
    // The map counts registers from 1.
    let heartbeat =
        plc.stations[0].bindings.iter().find(|binding| binding.tag == Tag::Heartbeat).expect("it is mapped");
    assert_eq!(heartbeat.address, Address::Register(0));
}

#[test]
fn rings_wraps_and_delimited_values_are_understood() {
    let config = good();
    let camera = station(&config, StationKind::Camera);
    assert_eq!(camera.settings.ring, 8);
    assert_eq!(camera.settings.wraps, [(Tag::Seq, 65_535)]);
    assert_eq!(camera.settings.absent, []);
    let vision = &config.devices[1].stations[0];
    let code = vision.bindings.iter().find(|binding| binding.tag == Tag::Code).expect("it is mapped");
    let Some(Split::Fields { delimiter: b';', fields }) = &code.split else { panic!("{:?}", code.split) };
    let tags: Vec<Tag> = fields.iter().map(|field| field.tag).collect();
    assert_eq!(tags, [Tag::Code, Tag::Track, Tag::Grade]);
    let rejector = station(&config, StationKind::Rejector);
    assert_eq!((rejector.settings.ends_ring, rejector.settings.verdict_depth), (64, 4));
    assert_eq!(rejector.settings.verdict_form, VerdictForm::Word);
}

#[test]
fn a_closer_knows_its_level_its_gates_and_its_time_to_live() {
    let config = good();
    let packer = station(&config, StationKind::Packer);
    assert_eq!(packer.gates, [Gate::Release, Gate::Seal]);
    let spec = &config.engine.stations[usize::from(packer.settings.id.0)];
    assert!(matches!(spec.role, Role::Packer { level: PackLevel::Case, ttl_ms: 1500 }), "{spec:?}");
}

#[test]
fn a_map_may_number_the_values_of_the_contract_in_its_own_way() {
    let config = good();
    let renumbered = &station(&config, StationKind::Palletizer).settings.renumbered;
    let of = |tag| {
        renumbered
            .iter()
            .filter(|entry| entry.tag == tag)
            .map(|entry| (entry.device, entry.contract))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(Tag::Request), [(10, 1), (20, 2)]);
    assert_eq!(of(Tag::Reply), []);
}

#[test]
fn the_example_and_the_demo_are_good_configurations() {
    for name in ["config/line.example.toml", "config/demo.toml"] {
        let config = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.warnings, [], "{name}");
    }
}

#[test]
fn the_digest_covers_the_maps() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config");
    std::fs::create_dir(folder.path().join("maps")).expect("an empty folder");
    for name in ["good.toml", "maps/plc.toml", "maps/vision.toml", "maps/coder.toml"] {
        std::fs::copy(data.join(name), folder.path().join(name)).expect("test data is there");
    }
    let file = folder.path().join("good.toml");
    let before = load(&file).expect("it is good").digest;
    assert_eq!(before.len(), 64);
    let map = folder.path().join("maps/plc.toml");
    let text = std::fs::read_to_string(&map).expect("it was copied");
    std::fs::write(&map, text.replace("length = 40", "length = 42")).expect("the folder is ours");
    assert_ne!(load(&file).map(|config| config.digest), Ok(before));
}

#[test]
fn a_password_is_the_first_line_of_its_file_and_never_shown() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("secret"), "s3cret\nnote\n").expect("the folder is ours");
    let text = "[mqtt]\nhost = \"b\"\nusername = \"u\"\npassword_file = \"secret\"\n";
    let problems = Problems::default();
    let source = Source::new("t.toml", text.to_owned(), &problems);
    let document = source.parse().expect("it is TOML");
    let file = FileConfig::read(Section::root(&source, &document), folder.path());
    let mqtt = file.mqtt.expect("it is complete");
    assert_eq!(mqtt.password.as_deref(), Some("s3cret"));
    assert!(!format!("{mqtt:?}").contains("s3cret"));
}

#[test]
fn tracks_inside_a_delimited_result_wrap_where_the_rejector_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/plant/line.toml");
    let config = load(&path).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.warnings, []);
    assert_eq!(station(&config, StationKind::Camera).settings.wraps.last(), Some(&(Tag::Track, 60)));
    // A camera that says it by itself is not told otherwise, and nobody invents a wrap.
    assert_eq!(station(&good(), StationKind::Camera).settings.track_wrap(), None);
}

fn loaded(file: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    load(&path).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_packer_may_be_a_person_with_a_scanner_and_a_label_printer() {
    let config = loaded("tests/data/config/by_hand.toml");
    let packer = station(&config, StationKind::Packer);
    assert_eq!((packer.settings.by_hand, packer.devices.len()), (Some(10), 2));
    assert!(packer.settings.absent.contains(&Tag::Request) && !packer.settings.is_label_scanned);
}

#[test]
fn a_packers_label_and_its_reading_may_lie_on_devices_of_their_own() {
    let config = loaded("config/demo-text.toml");
    let packer = station(&config, StationKind::Packer);
    assert_eq!((packer.devices.len(), packer.settings.is_label_scanned), (3, true));
    assert!(packer.tags.contains(&Tag::Label) && packer.tags.contains(&Tag::LabelRead));
    let printer = station(&config, StationKind::Printer);
    assert_eq!(printer.settings.absent, [Tag::Heartbeat, Tag::HeartbeatOut, Tag::EpochOut]);
    let coder = &config.devices[usize::from(printer.devices[0].0)];
    assert!(matches!(&coder.link, Link::Text(text) if text.dialect.mark.is_some()));
    let warnings: Vec<&str> = config.warnings.iter().map(|warning| warning.says.as_str()).collect();
    assert_eq!(warnings.len(), 2, "what is no longer proven is said: {warnings:?}");
}

/// No such file lies among the bad ones: everything there is text.
#[test]
fn a_file_in_another_encoding_is_named_with_the_line_where_it_is_no_text() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config");
    std::fs::create_dir(folder.path().join("maps")).expect("an empty folder");
    for name in ["good.toml", "maps/plc.toml", "maps/vision.toml", "maps/coder.toml"] {
        std::fs::copy(data.join(name), folder.path().join(name)).expect("test data is there");
    }
    let file = folder.path().join("good.toml");
    for (name, line) in [("maps/plc.toml", 2), ("good.toml", 3)] {
        let path = folder.path().join(name);
        let text = std::fs::read(&path).expect("it was copied");
        let latin = [b"\n".repeat(line - 1), b"# K\xfchlung\n".to_vec(), text].concat();
        std::fs::write(&path, latin).expect("the folder is ours");
        let problems = load(&file).map(|_| ()).expect_err("it is no text").problems;
        let said = problems.first().expect("at least one");
        assert_eq!((said.file.as_str(), said.line), (path.to_str().expect("text"), line), "{problems:?}");
        assert!(said.says.contains("no text in UTF-8") && !said.hint.is_empty(), "{said}");
    }
}
