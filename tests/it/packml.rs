//! Our numbers and names of PackML states against the NodeSet of OPC 30050 where it lies.

use std::collections::BTreeMap;

use sealgate::domain::packml::MachineState;

use crate::standards;

/// The quoted value of an attribute in one line of XML.
fn attribute<'x>(line: &'x str, name: &str) -> Option<&'x str> {
    let (_, rest) = line.split_once(&format!(" {name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

/// Browse names by node id, and the state numbers by the node that they are a property of.
fn states(text: &str) -> BTreeMap<String, i64> {
    let mut names = BTreeMap::new();
    let mut numbers = Vec::new();
    let mut owner: Option<String> = None;
    for line in text.lines() {
        if line.contains("<UAObject ") {
            let name = attribute(line, "BrowseName").and_then(|name| name.strip_prefix("1:"));
            if let (Some(id), Some(name)) = (attribute(line, "NodeId"), name) {
                names.insert(id.to_owned(), name.to_owned());
            }
        } else if line.contains("<UAVariable ") {
            let is_number = attribute(line, "BrowseName") == Some("StateNumber");
            owner = attribute(line, "ParentNodeId").filter(|_| is_number).map(ToOwned::to_owned);
        } else if let Some((_, rest)) = line.split_once("UInt32")
            && let Some(of) = owner.take_if(|_| rest.contains('>'))
        {
            let digits: String =
                rest.chars().skip_while(|c| *c != '>').skip(1).take_while(char::is_ascii_digit).collect();
            numbers.push((of, digits.parse().expect("a number")));
        }
    }
    numbers.into_iter().filter_map(|(owner, number)| Some((names.get(&owner)?.clone(), number))).collect()
}

#[test]
fn states_have_the_numbers_and_names_of_the_nodeset() {
    let Some(text) = standards::read("opcua/Opc.Ua.PackML.NodeSet2.xml") else { return };
    let mut states = states(&text);
    assert_eq!((states.remove("Running"), states.remove("Cleared")), (Some(18), Some(19)), "the composites");
    let ours: BTreeMap<String, i64> = states
        .iter()
        .filter_map(|(name, number)| {
            let state = MachineState::of_text(name.as_bytes())?;
            assert_eq!(MachineState::of_number(*number), Some(state), "{name}");
            Some((name.clone(), state.number()))
        })
        .collect();
    assert_eq!(ours, states);
    assert_eq!(ours.len(), MachineState::ALL.len());
}
