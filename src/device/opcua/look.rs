//! What a technician asks a server: what it offers, what lies in it, what a node shows now.
//!
//! Contract: reads only; one session, closed at the end; every request under the device's time limit; the answer is bounded by
//! `Walk::nodes_max`. Nodes are named by namespace URI, since indices change with the firmware (F54). What a tag means is not known here.

use std::{collections::HashSet, sync::Arc};

use opcua::{
    client::Session,
    types::{
        AttributeId, BrowseDescription, BrowseDirection, BrowseResult, BrowseResultMask, ByteString, DataValue,
        DateTime, Identifier, NamespaceMap, NodeClass, NodeClassMask, NodeId, ObjectId, QualifiedName, ReadValueId,
        ReferenceDescription, ReferenceTypeId, StatusCode, TimestampsToReturn, VariableId, Variant,
    },
};
use tokio::{
    pin, select,
    time::{Duration, Instant, timeout},
};

use super::{bond::Bond, connect, nodes::resolve, reader::unread, value};
use crate::device::{
    error::DeviceError,
    settings::{Address, Link, OpcuaLink, Settings},
};

/// Nodes in one request; small servers refuse more.
const CALL_MAX: usize = 20;
/// Elements of an array, and bytes of a text, that are shown.
const ELEMENTS_MAX: usize = 4096;

/// One way into a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// As the server names itself; we dial what was configured.
    pub url: String,
    pub policy: String,
    pub mode: String,
    /// `anonymous`, `username`, `certificate`, `issued`.
    pub users: Vec<&'static str>,
}

/// How far to look.
#[derive(Clone, Debug)]
pub struct Walk {
    /// `None`: from the folder Objects, without what the standard itself puts there.
    pub from: Option<String>,
    pub depth: usize,
    pub nodes_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Object,
    Variable,
    Method,
    Other,
}

/// One node of the tree, in the order of the tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// `nsu=URI;s=...`, or `i=...` in the standard's namespace.
    pub id: String,
    pub name: String,
    pub class: Class,
    /// 0 for what lies directly below the start.
    pub depth: usize,
    /// Of variables alone.
    pub variable: Option<Variable>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// `UInt32`; of arrays the type of one element.
    pub kind: String,
    /// The length of an array; `None` for one value.
    pub length: Option<usize>,
    pub is_writable: bool,
    pub now: Shown,
}

/// What a node shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    pub value: Value,
    /// `UInt32`, `String[8]`; empty where there is no value.
    pub kind: String,
    /// `Good`, `BadNodeIdUnknown`.
    pub status: String,
    pub is_good: bool,
    /// Microseconds since 1970.
    pub source_us: Option<i64>,
    pub server_us: Option<i64>,
}

/// A value as it can be printed.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    None,
    Bool(bool),
    Int(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Value>),
}

/// A tree that was looked at.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// By their index.
    pub namespaces: Vec<String>,
    pub nodes: Vec<Node>,
    /// There was more than `Walk::nodes_max`.
    pub is_cut: bool,
}

pub(super) fn link(settings: &Settings) -> Result<&OpcuaLink, DeviceError> {
    match &settings.link {
        Link::Opcua(link) => Ok(link),
        Link::Modbus(_) | Link::Text(_) => {
            Err(DeviceError::Refused(format!("{} does not speak OPC UA; try `sealgate check --online`", settings.name)))
        }
    }
}

/// Everything that the server offers; needs no session and no certificate.
pub async fn offers(settings: &Settings) -> Result<Vec<Offer>, DeviceError> {
    let endpoints = connect::endpoints(link(settings)?, settings).await?;
    Ok(endpoints.iter().map(offer).collect())
}

fn offer(endpoint: &opcua::types::EndpointDescription) -> Offer {
    let uri = endpoint.security_policy_uri.as_ref();
    let tokens = endpoint.user_identity_tokens.iter().flatten();
    Offer {
        url: endpoint.endpoint_url.as_ref().to_owned(),
        policy: uri.rsplit('#').next().unwrap_or(uri).to_owned(),
        mode: endpoint.security_mode.to_string(),
        users: tokens.map(|token| user_word(token.token_type)).collect(),
    }
}

fn user_word(token: opcua::types::UserTokenType) -> &'static str {
    match token {
        opcua::types::UserTokenType::Anonymous => "anonymous",
        opcua::types::UserTokenType::UserName => "username",
        opcua::types::UserTokenType::Certificate => "certificate",
        opcua::types::UserTokenType::IssuedToken => "issued",
    }
}

/// One session for one question.
pub(super) async fn ask<T>(
    settings: &Settings,
    question: impl AsyncFnOnce(&Session, &NamespaceMap) -> Result<T, DeviceError>,
) -> Result<T, DeviceError> {
    let limit = settings.request_timeout;
    let mut bond = Bond::new(link(settings)?, settings).await?;
    let session = Arc::clone(&bond.session);
    let asked = async {
        timeout(limit.saturating_mul(4), session.wait_for_connection())
            .await
            .map_err(|_| DeviceError::TimedOut("the creation of a session"))?;
        let namespaces = timeout(limit, session.read_namespace_array())
            .await
            .map_err(|_| DeviceError::TimedOut("the read of the namespaces"))?
            .map_err(|error| DeviceError::Lost(error.to_string()))?;
        question(&session, &namespaces).await
    };
    let answer = {
        let driver = bond.wire.drive();
        pin!(driver);
        select! {
            error = &mut driver => return Err(error),
            answer = asked => answer,
        }
    };
    bond.part().await;
    answer
}

/// Whether this can name a node, whatever the server.
pub fn is_node(text: &str) -> bool {
    let resolved = resolve(&Address::Node(text.to_owned()), &NamespaceMap::new());
    resolved.err().is_none_or(|status| status == StatusCode::BadNodeIdUnknown)
}

/// The namespaces of the server, by index.
pub async fn namespaces(settings: &Settings) -> Result<Vec<String>, DeviceError> {
    ask(settings, async |_, namespaces| Ok(in_order(namespaces))).await
}

fn in_order(namespaces: &NamespaceMap) -> Vec<String> {
    let mut named: Vec<(u16, &String)> =
        namespaces.known_namespaces().iter().map(|(uri, index)| (*index, uri)).collect();
    named.sort();
    named.into_iter().map(|(_, uri)| uri.clone()).collect()
}

/// What each of `nodes` (`nsu=...;s=...`, `ns=2;i=7`) shows now, in their order.
pub async fn read(settings: &Settings, nodes: &[String]) -> Result<Vec<Shown>, DeviceError> {
    let values = ask(settings, async |session, namespaces| values(session, settings, namespaces, nodes).await).await?;
    Ok(values.iter().map(shown_of).collect())
}

/// As the server answers; a node that cannot even be named has the status of that.
pub(super) async fn values(
    session: &Session,
    settings: &Settings,
    namespaces: &NamespaceMap,
    nodes: &[String],
) -> Result<Vec<DataValue>, DeviceError> {
    let mut all = Vec::new();
    for chunk in nodes.chunks(CALL_MAX) {
        let resolved: Vec<_> = chunk.iter().map(|node| resolve(&Address::Node(node.clone()), namespaces)).collect();
        let ids: Vec<ReadValueId> =
            resolved.iter().flatten().map(|node| ReadValueId::new_value(node.clone())).collect();
        let mut read = read_values(session, settings, &ids).await?.into_iter();
        all.extend(resolved.iter().map(|node| match node {
            Ok(_) => read.next().unwrap_or_default(),
            Err(status) => DataValue { status: Some(*status), ..DataValue::default() },
        }));
    }
    Ok(all)
}

/// How long the server takes to tell its own time: so many samples.
pub async fn trips(settings: &Settings, samples: usize) -> Result<Vec<Duration>, DeviceError> {
    ask(settings, async |session, _| {
        let time = NodeId::from(VariableId::Server_ServerStatus_CurrentTime);
        let mut took = Vec::new();
        for _ in 0..samples {
            let begun = Instant::now();
            read_values(session, settings, &[ReadValueId::new_value(time.clone())]).await?;
            took.push(begun.elapsed());
        }
        Ok(took)
    })
    .await
}

async fn read_values(
    session: &Session,
    settings: &Settings,
    ids: &[ReadValueId],
) -> Result<Vec<DataValue>, DeviceError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    timeout(settings.request_timeout, session.read(ids, TimestampsToReturn::Both, 0.0))
        .await
        .map_err(|_| DeviceError::TimedOut("a read"))?
        .map_err(|error| unread(error.status(), ids.len()))
}

/// The nodes below the start, parents before their children; `None` where the server has no such start.
pub async fn browse(settings: &Settings, walk: &Walk) -> Result<Option<Tree>, DeviceError> {
    ask(settings, async |session, namespaces| {
        let start = match &walk.from {
            None => NodeId::from(ObjectId::ObjectsFolder),
            Some(node) => match resolve(&Address::Node(node.clone()), namespaces) {
                Ok(node) => node,
                Err(_) => return Ok(None),
            },
        };
        let start_class = read_values(session, settings, &[attribute_of(&start, AttributeId::NodeClass)]).await?;
        if start_class.iter().any(|data| data.status == Some(StatusCode::BadNodeIdUnknown)) {
            return Ok(None);
        }
        let names = in_order(namespaces);
        let mut walker = Walker { session, settings, walk, names: &names, seen: HashSet::from([start.clone()]) };
        let mut tree = Tree { namespaces: names.clone(), ..Tree::default() };
        walker.below(&start, 0, &mut tree).await?;
        walker.describe(&mut tree, namespaces).await?;
        Ok(Some(tree))
    })
    .await
}

struct Walker<'a> {
    session: &'a Session,
    settings: &'a Settings,
    walk: &'a Walk,
    names: &'a [String],
    /// Every node once: address spaces have cycles.
    seen: HashSet<NodeId>,
}

impl Walker<'_> {
    async fn below(&mut self, parent: &NodeId, depth: usize, tree: &mut Tree) -> Result<(), DeviceError> {
        for reference in self.children(parent).await? {
            let id = reference.node_id.node_id.clone();
            // The server's own: diagnostics, aliases, locations. What a machine shows lies in namespaces of its maker.
            let is_own = self.walk.from.is_none() && depth == 0 && id.namespace == 0;
            if is_own || !self.seen.insert(id.clone()) {
                continue;
            }
            if tree.nodes.len() >= self.walk.nodes_max {
                tree.is_cut = true;
                return Ok(());
            }
            tree.nodes.push(Node {
                id: named(&id, self.names),
                name: reference.display_name.text.as_ref().to_owned(),
                class: class(reference.node_class),
                depth,
                variable: None,
            });
            if depth + 1 < self.walk.depth {
                // Servers nest a handful of levels; the depth is the bound of this recursion.
                Box::pin(self.below(&id, depth + 1, tree)).await?;
            }
        }
        Ok(())
    }

    async fn children(&self, parent: &NodeId) -> Result<Vec<ReferenceDescription>, DeviceError> {
        let wanted = BrowseDescription {
            node_id: parent.clone(),
            browse_direction: BrowseDirection::Forward,
            reference_type_id: ReferenceTypeId::HierarchicalReferences.into(),
            include_subtypes: true,
            node_class_mask: (NodeClassMask::OBJECT | NodeClassMask::VARIABLE | NodeClassMask::METHOD).bits(),
            result_mask: BrowseResultMask::All as u32,
        };
        let limit = self.settings.request_timeout;
        let answer = timeout(limit, self.session.browse(&[wanted], 0, None)).await;
        let mut result = first(answer)?;
        let mut found = Vec::new();
        loop {
            found.extend(result.references.take().unwrap_or_default());
            let point: ByteString = result.continuation_point.clone();
            if point.is_null_or_empty() || found.len() > self.walk.nodes_max {
                return Ok(found);
            }
            let answer = timeout(limit, self.session.browse_next(false, &[point])).await;
            result = first(answer)?;
        }
    }

    /// Types, lengths and values of all variables.
    async fn describe(&self, tree: &mut Tree, namespaces: &NamespaceMap) -> Result<(), DeviceError> {
        let is_variable = |node: &&mut Node| node.class == Class::Variable;
        let mut variables: Vec<&mut Node> = tree.nodes.iter_mut().filter(is_variable).collect();
        for chunk in variables.chunks_mut(CALL_MAX) {
            let mut ids = Vec::new();
            for node in chunk.iter() {
                let id = resolve(&Address::Node(node.id.clone()), namespaces)
                    .map_err(|status| DeviceError::Protocol(format!("{}: {status}", node.id)))?;
                ids.extend(ATTRIBUTES.map(|attribute| attribute_of(&id, attribute)));
            }
            let values = read_values(self.session, self.settings, &ids).await?;
            for (node, values) in chunk.iter_mut().zip(values.chunks(ATTRIBUTES.len())) {
                node.variable = Some(variable(values, self.names));
            }
        }
        Ok(())
    }
}

const ATTRIBUTES: [AttributeId; 5] = [
    AttributeId::Value,
    AttributeId::DataType,
    AttributeId::ValueRank,
    AttributeId::ArrayDimensions,
    AttributeId::UserAccessLevel,
];

fn attribute_of(id: &NodeId, attribute: AttributeId) -> ReadValueId {
    ReadValueId {
        node_id: id.clone(),
        attribute_id: attribute as u32,
        index_range: Default::default(),
        data_encoding: QualifiedName::null(),
    }
}

type Answered = Result<Result<Vec<BrowseResult>, opcua::types::Error>, tokio::time::error::Elapsed>;

fn first(answer: Answered) -> Result<BrowseResult, DeviceError> {
    let results =
        answer.map_err(|_| DeviceError::TimedOut("a browse"))?.map_err(|error| DeviceError::Lost(error.to_string()))?;
    let result = results.into_iter().next().unwrap_or_default();
    if result.status_code.is_bad() {
        return Err(DeviceError::Refused(format!("the browse: {}", result.status_code)));
    }
    Ok(result)
}

fn class(class: NodeClass) -> Class {
    match class {
        NodeClass::Object => Class::Object,
        NodeClass::Variable => Class::Variable,
        NodeClass::Method => Class::Method,
        _ => Class::Other,
    }
}

/// Bit 1 of an access level: the value may be written (OPC 10000-3, 5.6.2).
const WRITE: u8 = 2;

/// From the attributes in the order of `ATTRIBUTES`. What the value itself says comes before what the server declares.
fn variable(values: &[DataValue], names: &[String]) -> Variable {
    let now = values.first().map(shown_of).unwrap_or_else(|| shown_of(&DataValue::default()));
    let value = |index: usize| values.get(index).and_then(|data| data.value.as_ref());
    let declared = match value(1) {
        Some(Variant::NodeId(id)) => type_name(id, names),
        _ => String::new(),
    };
    let found = now.kind.split('[').next().unwrap_or_default().to_owned();
    let is_array = matches!(value(2), Some(Variant::Int32(rank)) if *rank >= 0);
    let dimension = match value(3) {
        Some(Variant::Array(array)) => match array.values.first() {
            Some(Variant::UInt32(length)) => usize::try_from(*length).ok().filter(|length| *length > 0),
            _ => None,
        },
        _ => None,
    };
    let length = match &now.value {
        Value::List(values) => Some(values.len()),
        _ if is_array => Some(dimension.unwrap_or(0)),
        _ => None,
    };
    Variable {
        kind: if found.is_empty() { declared } else { found },
        length,
        is_writable: matches!(value(4), Some(Variant::Byte(level)) if level & WRITE != 0),
        now,
    }
}

/// The built-in types of OPC 10000-6, table 1, by their number; any other type by its id.
const BUILT_IN: [&str; 16] = [
    "",
    "Boolean",
    "SByte",
    "Byte",
    "Int16",
    "UInt16",
    "Int32",
    "UInt32",
    "Int64",
    "UInt64",
    "Float",
    "Double",
    "String",
    "DateTime",
    "Guid",
    "ByteString",
];

fn type_name(id: &NodeId, names: &[String]) -> String {
    let number = match &id.identifier {
        Identifier::Numeric(number) if id.namespace == 0 => usize::try_from(*number).ok(),
        _ => None,
    };
    let built_in = number.and_then(|number| BUILT_IN.get(number)).filter(|name| !name.is_empty());
    built_in.map_or_else(|| named(id, names), |name| (*name).to_owned())
}

/// The id with the URI of its namespace.
pub(super) fn named(id: &NodeId, names: &[String]) -> String {
    match names.get(usize::from(id.namespace)) {
        Some(uri) if id.namespace > 0 => format!("nsu={uri};{}", id.identifier),
        _ => id.to_string(),
    }
}

pub(super) fn shown_of(data: &DataValue) -> Shown {
    let status = data.status.unwrap_or_default();
    let variant = data.value.as_ref().unwrap_or(&Variant::Empty);
    Shown {
        value: printed(variant),
        kind: value::kind_of(variant),
        status: status.to_string(),
        is_good: status.is_good(),
        source_us: data.source_timestamp.as_ref().and_then(unix_us),
        server_us: data.server_timestamp.as_ref().and_then(unix_us),
    }
}

fn unix_us(time: &DateTime) -> Option<i64> {
    value::to_unix_us(time)
}

fn printed(variant: &Variant) -> Value {
    match variant {
        Variant::Empty => Value::None,
        Variant::Boolean(value) => Value::Bool(*value),
        Variant::SByte(value) => Value::Int(i64::from(*value)),
        Variant::Byte(value) => Value::Int(i64::from(*value)),
        Variant::Int16(value) => Value::Int(i64::from(*value)),
        Variant::UInt16(value) => Value::Int(i64::from(*value)),
        Variant::Int32(value) => Value::Int(i64::from(*value)),
        Variant::UInt32(value) => Value::Int(i64::from(*value)),
        Variant::Int64(value) => Value::Int(*value),
        Variant::UInt64(value) => Value::Unsigned(*value),
        Variant::Float(value) => Value::Float(f64::from(*value)),
        Variant::Double(value) => Value::Float(*value),
        Variant::String(text) => Value::Text(text.as_ref().to_owned()),
        Variant::ByteString(bytes) => {
            let bytes = bytes.value.as_deref().unwrap_or_default();
            Value::Bytes(bytes.iter().take(ELEMENTS_MAX).copied().collect())
        }
        Variant::Array(array) => Value::List(array.values.iter().take(ELEMENTS_MAX).map(printed).collect()),
        other => Value::Text(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_by_the_uri_of_its_namespace() {
        let names = ["http://opcfoundation.org/UA/".to_owned(), "urn:x".to_owned(), "urn:plc".to_owned()];
        assert_eq!(named(&NodeId::new(2, "Camera.Seq"), &names), "nsu=urn:plc;s=Camera.Seq");
        assert_eq!(named(&NodeId::new(0, 85_u32), &names), "i=85");
        assert_eq!(named(&NodeId::new(9, 7_u32), &names), "ns=9;i=7", "an index that the server does not name");
    }

    #[test]
    fn an_array_without_elements_keeps_the_length_that_the_server_declares() {
        let dimensions = Variant::from(vec![8_u32]);
        let empty = DataValue::value_only(Variant::Empty);
        let values = [
            empty,
            DataValue::value_only(Variant::from(NodeId::new(0, 7_u32))),
            DataValue::value_only(Variant::Int32(1)),
            DataValue::value_only(dimensions),
            DataValue::value_only(Variant::Byte(3)),
        ];
        let found = variable(&values, &[]);
        assert_eq!((found.kind.as_str(), found.length, found.is_writable), ("UInt32", Some(8), true));
    }
}
