//! The OpenAPI 3.1 document of the door, made of its table.

use serde_json::{Map, Value, json};

use crate::engine::clearance::ItemAnswer;
use crate::engine::people::Role;
use crate::engine::signing::Signable;
use crate::web::COOKIE;
use crate::web::outcome::Refusal;
use crate::web::routes::{DOCUMENT, Field, Method, ROUTES, Right, Route, Shape};
use crate::wire::schema;

/// The whole document. `version` is the program's.
pub fn document(version: &str) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.template()).or_insert_with(|| json!({}));
        let method = match route.method {
            Method::Get => "get",
            Method::Post => "post",
        };
        path[method] = operation(route);
    }
    paths.insert(format!("{}{DOCUMENT}", super::routes::BASE), json!({ "get": this_document() }));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sealgate",
            "version": version,
            "description": "The same requests as on the local socket, with the same answers. Who asks is what the cookie of \
                POST /api/v1/login says; without it nothing is told and nothing is done. An Idempotency-Key makes a repeat of \
                what acts harmless: it gets the answer that the first one got.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": { "session": { "type": "apiKey", "in": "cookie", "name": COOKIE } },
            "schemas": { "Answer": answer(), "Refusal": refusal(), "Reason": reason() },
        },
    })
}

fn operation(route: &Route) -> Value {
    let is_outside = |field: &&Field| route.method == Method::Get || route.is_in_path(field.key);
    let mut parameters: Vec<Value> =
        route.fields.iter().filter(is_outside).map(|field| parameter(route, field)).collect();
    let mut operation = json!({
        "operationId": route.act.map_or_else(|| route.word.to_owned(), |act| format!("{}_{}", route.word, act.name())),
        "summary": route.about,
        "description": who(route.right),
        "security": if route.right == Right::Anybody { json!([]) } else { json!([{ "session": [] }]) },
        "responses": responses(),
    });
    if route.method == Method::Post {
        parameters.push(idempotency());
        let inside: Vec<&Field> = route.fields.iter().filter(|field| !is_outside(field)).collect();
        operation["requestBody"] = json!({ "required": true, "content": content(body(&inside)) });
    }
    operation["parameters"] = Value::Array(parameters);
    operation
}

fn who(right: Right) -> String {
    match right {
        Right::Anybody => "For everybody.".to_owned(),
        Right::Session => "For whoever is logged in.".to_owned(),
        Right::Act => "For who has the right of what is signed for.".to_owned(),
        Right::Action(action) => {
            let roles: Vec<&str> =
                Role::ALL.iter().filter(|role| action.is_of(**role)).map(|role| role.name()).collect();
            format!("For: {}.", roles.join(", "))
        }
    }
}

fn parameter(route: &Route, field: &Field) -> Value {
    let place = if route.is_in_path(field.key) { "path" } else { "query" };
    json!({ "name": field.key, "in": place, "required": field.is_required, "schema": of(field.shape) })
}

fn idempotency() -> Value {
    json!({
        "name": "Idempotency-Key",
        "in": "header",
        "required": false,
        "description": "A repeat with the same key and the same content is answered, and not done again.",
        "schema": { "type": "string", "pattern": "^[!-~]{1,64}$" },
    })
}

fn body(fields: &[&Field]) -> Value {
    let properties: Map<String, Value> = fields.iter().map(|field| (field.key.to_owned(), of(field.shape))).collect();
    let required: Vec<&str> = fields.iter().filter(|field| field.is_required).map(|field| field.key).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn of(shape: Shape) -> Value {
    match shape {
        Shape::Text(most) => json!({ "type": "string", "minLength": 1, "maxLength": most }),
        Shape::Secret => json!({ "type": "string", "minLength": 1, "maxLength": 256, "format": "password" }),
        Shape::User => json!({ "type": "string", "pattern": "^[a-z][a-z0-9._-]{1,31}$" }),
        Shape::Gtin => schema::digits(14, 14),
        Shape::Whole(least, most) => schema::range(least, most),
        Shape::Words(words) => json!({ "enum": words }),
        Shape::Roles => {
            let roles: Vec<&str> = Role::ALL.iter().map(|role| role.name()).collect();
            json!({ "type": "array", "items": { "enum": roles } })
        }
        Shape::Serials => {
            json!({ "type": "array", "items": schema::cset82(), "maxItems": crate::wire::command::USED_MAX })
        }
        Shape::Act => schema::word(Signable::ALL, |act| act.name()),
        Shape::Items => json!({
            "type": "array",
            "maxItems": 64,
            "items": {
                "type": "object",
                "properties": {
                    "item": { "type": "string" },
                    "answer": schema::word(ItemAnswer::ALL, |answer| answer.name()),
                },
                "required": ["item", "answer"],
            },
        }),
        Shape::Order => {
            let mut order = schema::order();
            // A file of the line's own computer is for who sits at it.
            if let Some(properties) = order["properties"].as_object_mut() {
                properties.remove("serials_file");
            }
            order
        }
    }
}

fn responses() -> Value {
    let mut responses = Map::new();
    let said = |schema: &str| content(json!({ "$ref": format!("#/components/schemas/{schema}") }));
    responses
        .insert("200".to_owned(), json!({ "description": "Done, or what was asked for.", "content": said("Answer") }));
    for refusal in Refusal::ALL {
        let response = json!({ "description": refusal.about(), "content": said("Refusal") });
        responses.insert(refusal.status().as_u16().to_string(), response);
    }
    Value::Object(responses)
}

fn content(schema: Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

fn answer() -> Value {
    json!({
        "type": "object",
        "properties": {
            "ok": { "const": true },
            "changed": { "type": "boolean", "description": "False where it was so already." },
            "data": { "description": "What was asked for." },
        },
        "required": ["ok"],
        "additionalProperties": false,
    })
}

fn refusal() -> Value {
    let words: Vec<&str> = Refusal::ALL.iter().map(|refusal| refusal.name()).collect();
    let reasons = json!({ "type": "array", "items": { "$ref": "#/components/schemas/Reason" } });
    json!({
        "type": "object",
        "properties": {
            "ok": { "const": false },
            "error": { "enum": words },
            "reasons": reasons,
            "differences": reasons,
        },
        "required": ["ok", "error", "reasons"],
        "additionalProperties": false,
    })
}

fn reason() -> Value {
    let text = || json!({ "type": "string" });
    json!({
        "type": "object",
        "properties": {
            "code": text(),
            "text": text(),
            "path": text(),
            "value": text(),
            "allowed": text(),
            "rule": text(),
            "class": text(),
        },
        "required": ["code", "text"],
        "additionalProperties": false,
    })
}

fn this_document() -> Value {
    let refusals = [Refusal::NotAllowed, Refusal::MethodNotAllowed, Refusal::TooMany];
    let mut all = responses();
    if let Some(responses) = all.as_object_mut() {
        let status = |refusal: &Refusal| refusal.status().as_u16().to_string();
        responses.retain(|key, _| refusals.iter().map(status).any(|kept| kept == *key));
        let schema = json!({ "type": "object", "required": ["openapi"] });
        responses.insert("200".to_owned(), json!({ "description": "It.", "content": content(schema) }));
    }
    json!({ "operationId": "openapi", "summary": "This document", "security": [], "responses": all })
}
