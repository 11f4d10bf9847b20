//! Orders as people and systems write them, and as they should not.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn good() -> Value {
    json!({
        "batch": "B7", "gtin": "00300010123455", "lot": "L7", "expiry": "2027-03-31", "gcp_length": 6,
        "pack": {"case": 10, "pallet": 4},
        "sscc": {"extension": 0, "prefix": "030001", "first": 1, "last": 1000},
        "serials": ["A1", "'OR'1'='1'--", "../../etc/passwd", "a+b/c", "001"],
    })
}

fn read(order: &Value) -> Result<Order, Vec<Problem>> {
    OrderDraft::parse(order.to_string().as_bytes())?.finish(None)
}

fn with(path: &[&str], value: Value) -> Value {
    let mut order = good();
    let mut at = &mut order;
    for key in path {
        at = &mut at[*key];
    }
    *at = value;
    order
}

fn without(key: &str) -> Value {
    let mut order = good();
    order.as_object_mut().expect("an object").remove(key);
    order
}

fn paths(problems: &[Problem]) -> Vec<&str> {
    problems.iter().map(|problem| problem.path.as_str()).collect()
}

#[test]
fn takes_a_good_order_whole() {
    let order = read(&good()).expect("a good order");
    assert_eq!(order.sheet.gtin.as_str(), "00300010123455");
    assert_eq!((order.sheet.pack.case_capacity, order.sheet.pack.pallet_capacity), (10, 4));
    assert_eq!(order.serials.last().map(SerialNumber::as_str), Some("001"));
    let lines = "A1\n'OR'1'='1'--\n../../etc/passwd\na+b/c\n001\n";
    assert_eq!(order.serials_sha256.as_str(), crate::wire::digest::sha256_hex(lines.as_bytes()));
}

#[test]
fn a_good_order_is_as_its_schema_says() {
    let (_, schema) = crate::wire::schema::all().into_iter().find(|(name, _)| name == "_order").expect("known");
    assert!(jsonschema::draft202012::is_valid(&schema, &good()));
    assert!(!jsonschema::draft202012::is_valid(&schema, &with(&["surplus"], json!(1))));
}

#[test]
fn takes_the_recipe_that_the_order_approves_for_each_station() {
    assert_eq!(read(&good()).expect("a good order").sheet.recipes, []);
    let named = with(&["recipes"], json!({"packer": "4711 ä", "camera": "R-17"}));
    let recipes = read(&named).expect("a good order").sheet.recipes;
    let shown: Vec<_> = recipes.iter().map(|named| (named.station.as_str(), named.recipe.as_str())).collect();
    assert_eq!(shown, [("camera", "R-17"), ("packer", "4711 ä")]);
    let (_, schema) = crate::wire::schema::all().into_iter().find(|(name, _)| name == "_order").expect("known");
    assert!(jsonschema::draft202012::is_valid(&schema, &named));
    for wrong in [json!({"camera": 17}), json!({"camera": ""}), json!({"": "R-17"}), json!(["R-17"])] {
        assert!(!jsonschema::draft202012::is_valid(&schema, &with(&["recipes"], wrong)));
    }
}

#[test]
fn takes_serials_from_a_file_with_either_line_end() {
    let mut order = without("serials");
    order["serials_file"] = json!("serials.txt");
    let draft = || OrderDraft::parse(order.to_string().as_bytes()).expect("JSON");
    assert_eq!(draft().serials_file(), Some("serials.txt"));
    for file in ["A1\nA2\n", "A1\r\nA2\r\n", "A1\nA2", "\u{feff}A1\nA2\n"] {
        let serials = draft().finish(Some(file.as_bytes())).expect("a good order").serials;
        assert_eq!(serials.iter().map(SerialNumber::as_str).collect::<Vec<_>>(), ["A1", "A2"], "{file:?}");
    }
    let problems = draft().finish(Some(b"A1\n\nA \n\xff\nA1\n")).expect_err("four bad lines");
    let expected = ["line 2", "line 3", "line 4", "line 5"].map(|line| format!("$.serials_file {line}"));
    assert_eq!(paths(&problems), expected);
    assert!(problems[3].what.contains("repeats $.serials_file line 1"), "{}", problems[3]);
    assert_eq!(paths(&draft().finish(None).expect_err("no file")), ["$.serials_file"]);
    assert_eq!(paths(&draft().finish(Some(b"")).expect_err("an empty file")), ["$.serials_file"]);
}

#[test]
fn reports_every_problem_at_once() {
    let order = json!({
        "batch": "B 7", "gtin": "00300010123456", "lot": "", "expirey": "2027-02-30", "gcp_length": 13,
        "pack": {"pallet": 4, "case": 0}, "sscc": {"extension": 10, "prefix": "03", "first": 1.5},
        "recipes": {"camera": null, "a station that nobody has": "R-17", "packer": "R-18"},
        "serials": ["A1", 7, "A#", "A1"],
    });
    let problems = read(&order).expect_err("hardly anything is right");
    let mut found = paths(&problems);
    found.sort_unstable();
    let expected = [
        "$.batch",
        "$.expirey",
        "$.expiry",
        "$.gcp_length",
        "$.gtin",
        "$.lot",
        "$.pack.case",
        "$.recipes.a station that nobody has",
        "$.recipes.camera",
        "$.serials[1]",
        "$.serials[2]",
        "$.serials[3]",
        "$.sscc.extension",
        "$.sscc.first",
        "$.sscc.last",
        "$.sscc.prefix",
    ];
    assert_eq!(found, expected);
    let meant = problems.iter().find(|problem| problem.path == "$.expirey").expect("named");
    assert!(meant.what.contains("did you mean expiry?"), "{meant}");
}

#[test]
fn names_each_problem_by_its_path() {
    let cases = [
        (with(&["gtin"], json!(300_010_123_455_u64)), "$.gtin"),
        (with(&["gtin"], json!("00300010123450")), "$.gtin"),
        (with(&["lot"], json!("L 7")), "$.lot"),
        (with(&["expiry"], json!("2027-02-29")), "$.expiry"),
        (with(&["gcp_length"], json!(7)), "$.sscc.prefix"),
        (with(&["sscc", "prefix"], json!("030002")), "$.sscc.prefix"),
        (with(&["sscc", "last"], json!(10_000_000_000_u64)), "$.sscc.last"),
        (with(&["sscc", "last"], json!(0)), "$.sscc.last"),
        (with(&["sscc", "lsat"], json!(1)), "$.sscc.lsat"),
        (with(&["pack", "case"], json!(0)), "$.pack.case"),
        (with(&["pack", "case"], json!(5001)), "$.pack.case"),
        (with(&["pack"], json!({"pallet": 4})), "$.pack.pallet"),
        (with(&["pack"], json!([])), "$.pack"),
        (with(&["serials"], json!([])), "$.serials"),
        (with(&["serials"], json!("A1")), "$.serials"),
        (with(&["serials"], json!({"A1": 1})), "$.serials"),
        (with(&["serials_file"], json!("x")), "$.serials_file"),
        (without("serials"), "$.serials"),
        (with(&["recipes"], json!(["R-17"])), "$.recipes"),
        (with(&["recipes"], json!({"camera": 17})), "$.recipes.camera"),
        (with(&["recipes"], json!({"camera": ""})), "$.recipes.camera"),
        (with(&["recipes"], json!({"camera": "R".repeat(65)})), "$.recipes.camera"),
        (with(&["recipes"], json!({"": "R-17"})), "$.recipes."),
        (with(&["recipes"], (0..65).map(|at| (format!("s{at}"), json!("R"))).collect()), "$.recipes"),
        (without("batch"), "$.batch"),
        (without("sscc"), "$.sscc"),
        (with(&["batch"], json!("x".repeat(33))), "$.batch"),
    ];
    for (order, path) in cases {
        let problems = read(&order).expect_err(path);
        assert_eq!(paths(&problems), [path], "{problems:?}");
        assert!(!problems[0].allowed.is_empty());
    }
}

#[test]
fn a_field_that_stands_twice_is_a_problem() {
    let mut good = good();
    good["recipes"] = json!({"camera": "R-17"});
    let cases = [
        ("{", r#"{"lot":"L8","#, "$.lot"),
        (r#""recipes":{"#, r#""recipes":{"camera":"R-18","#, "$.recipes.camera"),
        (r#""pack":{"#, r#""pack":{"case":5,"#, "$.pack.case"),
        (r#""sscc":{"#, r#""sscc":{"last":1000,"#, "$.sscc.last"),
    ];
    for (place, twice, path) in cases {
        let text = good.to_string().replacen(place, twice, 1);
        let problems = OrderDraft::parse(text.as_bytes()).and_then(|draft| draft.finish(None)).expect_err(path);
        assert_eq!(paths(&problems), [path]);
        assert_eq!(problems[0].what, "the field stands twice");
    }
    let text = r#"{"pack":{"case":[0,{"a":{"b":1,"b":1}}]}}"#;
    let problems = OrderDraft::parse(text.as_bytes()).expect("JSON").finish(None).expect_err("twice");
    assert_eq!(problems[0].path, "$.pack.case[1].a.b");
}

#[test]
fn names_a_hundred_repeats_and_counts_the_rest() {
    let serials: Vec<String> = (0..150).chain(0..150).map(|number| format!("S{number}")).collect();
    let problems = read(&with(&["serials"], json!(serials))).expect_err("150 repeats");
    assert_eq!(problems.len(), 101);
    assert_eq!(problems[0].path, "$.serials[150]");
    assert!(problems[0].what.contains("repeats $.serials[0]"), "{}", problems[0]);
    assert!(problems[100].what.contains("50 more"), "{}", problems[100]);
}

#[test]
fn a_syntax_error_is_one_problem_with_its_line() {
    for text in ["", "[]", "{\"batch\":", "{\"batch\":\"B7\"}{}", "nonsense", "\u{0}"] {
        let problems = OrderDraft::parse(text.as_bytes()).expect_err(text);
        assert_eq!(paths(&problems), ["$"]);
        assert!(problems[0].what.contains("line 1"), "{}", problems[0]);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_harm(json in any::<Vec<u8>>(), file in any::<Vec<u8>>()) {
        if let Ok(draft) = OrderDraft::parse(&json) {
            prop_assert!(draft.finish(Some(&file)).is_err());
        }
    }

    #[test]
    fn an_order_with_any_part_replaced_never_panics(
        key in proptest::sample::select(FIELDS), text in any::<String>(), number in any::<u64>(), which in 0..4,
    ) {
        let value = match which {
            0 => json!(text),
            1 => json!(number),
            2 => json!([text, number]),
            _ => json!({"case": number, "prefix": text, "first": number}),
        };
        let _ = read(&with(&[key], value));
    }

    #[test]
    fn any_serials_file_is_read_or_refused(file in any::<Vec<u8>>()) {
        let mut order = without("serials");
        order["serials_file"] = json!("x");
        let draft = OrderDraft::parse(order.to_string().as_bytes()).expect("JSON");
        if let Err(problems) = draft.finish(Some(&file)) {
            prop_assert!(!problems.is_empty());
        }
    }
}
