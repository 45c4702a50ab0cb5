//! `/openapi.json`: what can be asked for, for programs and people who write them.
//!
//! Bodies are described by the types that read and write them; [`operations`] says the rest. A test
//! holds the document and the routes together.

mod forms;
mod operations;

use std::sync::OnceLock;

use axum::extract::State;
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use reveille_types::wire;
use reveille_types::{Receipt, limits, wire::PROBLEM_JSON};
use serde_json::Value;
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{
    AnyOfBuilder, ArrayBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    Components, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, PathsBuilder, Ref,
    RefOr, Required, ResponseBuilder,
};
use utoipa::{PartialSchema, ToSchema};

use crate::gateway::Gateway;
use crate::routes::Route;
use operations::{Answer, Body, OPERATIONS, Operation, Query};

/// The names of the two ways to show a credential.
const BEARER: &str = "bearer";
const TICKET: &str = "ticket";

/// `GET /openapi.json`.
pub(crate) async fn document(State(gateway): State<Gateway>) -> Response {
    static OPEN: OnceLock<String> = OnceLock::new();
    static GUARDED: OnceLock<String> = OnceLock::new();
    let guarded = gateway.authorizer().is_some();
    let text = if guarded { &GUARDED } else { &OPEN };
    let text = text.get_or_init(|| document_of(guarded).to_string());
    ([(header::CONTENT_TYPE, "application/json")], text.as_str()).into_response()
}

/// The document of a server with authentication or without, and what texts in it look like.
fn document_of(guarded: bool) -> Value {
    // The document is JSON, and has no keys but texts.
    let mut document = serde_json::to_value(openapi(guarded)).unwrap_or_default();
    forms::say(&mut document);
    document
}

fn openapi(guarded: bool) -> OpenApi {
    let info = InfoBuilder::new()
        .title("Reveille")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Wake the right task at the right moment."));
    let mut paths = PathsBuilder::new();
    for route in Gateway::routes() {
        let method = match route.method.as_str() {
            "GET" => HttpMethod::Get,
            "PUT" => HttpMethod::Put,
            "DELETE" => HttpMethod::Delete,
            "OPTIONS" => HttpMethod::Options,
            _ => HttpMethod::Post,
        };
        // This version of OpenAPI has no word for it; each such route has a twin with POST.
        if route.method == Method::QUERY {
            continue;
        }
        let described = OPERATIONS
            .iter()
            .find(|o| o.method == route.method.as_str() && o.path == route.path);
        if let Some(operation) = described {
            let item = PathItem::new(method, built(operation, &route, guarded));
            paths = paths.path(route.path, item);
        }
    }
    OpenApiBuilder::new()
        .info(info)
        .paths(paths)
        .components(Some(components()))
        .build()
}

fn built(operation: &Operation, route: &Route, guarded: bool) -> OperationBuilder {
    let mut built = OperationBuilder::new()
        .tag(operation.tag)
        .operation_id(Some(operation.id))
        .summary(Some(operation.about));
    if let Some(right) = route.right {
        let needed = format!("Needs the right `{}`.", right.as_str());
        built = built.description(Some(needed));
    }
    for name in in_path(operation.path) {
        built = built.parameter(parameter(name, ParameterIn::Path, Query::Text, ""));
    }
    for (name, query, about) in operation.query {
        built = built.parameter(parameter(name, ParameterIn::Query, *query, about));
    }
    if route.tickets {
        let about = "A cursor to go on after; wins over `after`";
        let place = ParameterIn::Header;
        built = built.parameter(parameter("Last-Event-ID", place, Query::Text, about));
    }
    match operation.body {
        Body::None => {}
        Body::Json(name) | Body::Required(name) => {
            let required = match operation.body {
                Body::Required(_) => Required::True,
                _ => Required::False,
            };
            let body = RequestBodyBuilder::new().required(Some(required)).content(
                "application/json",
                ContentBuilder::new().schema(Some(of(name))).build(),
            );
            built = built.request_body(Some(body.build()));
        }
        Body::Protobuf => {
            let bytes = ObjectBuilder::new()
                .schema_type(SchemaType::new(Type::String))
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)));
            let content = ContentBuilder::new().schema(Some(bytes)).build();
            let body = RequestBodyBuilder::new()
                .content("application/x-protobuf", content)
                .required(Some(Required::True));
            built = built.request_body(Some(body.build()));
        }
        Body::Events => {
            let mut body = RequestBodyBuilder::new().required(Some(Required::True));
            let many = |name| {
                ArrayBuilder::new()
                    .items(of(name))
                    .min_items(Some(1))
                    .into()
            };
            for media_type in [
                "application/json",
                wire::CLOUDEVENT_JSON,
                wire::CLOUDEVENT_BATCH_JSON,
            ] {
                let schema: RefOr<Schema> = match media_type {
                    wire::CLOUDEVENT_BATCH_JSON => many("CloudEvent"),
                    wire::CLOUDEVENT_JSON => of("CloudEvent"),
                    _ => AnyOfBuilder::new()
                        .item(of("Event"))
                        .item(of("CloudEvent"))
                        .item(many("CloudEvent"))
                        .item(many("Event"))
                        .into(),
                };
                body = body.content(
                    media_type,
                    ContentBuilder::new().schema(Some(schema)).build(),
                );
            }
            built = built.request_body(Some(body.build()));
        }
    }
    for (status, answer) in operation.answers {
        built = built.response(status.to_string(), answered(*answer));
    }
    let problem = ContentBuilder::new().schema(Some(of("Problem"))).build();
    let refused = ResponseBuilder::new()
        .description("What went wrong (RFC 9457)")
        .content(PROBLEM_JSON, problem);
    built = built.response("default", refused);
    // Far beyond the limit nobody reads it, and the answer is empty.
    for (status, about) in [
        ("414", "The URL is too long"),
        ("431", "The head is too long"),
    ] {
        built = built.response(status, ResponseBuilder::new().description(about));
    }
    if guarded && !route.open {
        built = built.security(SecurityRequirement::new::<_, [&str; 0], &str>(BEARER, []));
    }
    if guarded && route.tickets {
        built = built.security(SecurityRequirement::new::<_, [&str; 0], &str>(TICKET, []));
    }
    built
}

fn answered(answer: Answer) -> ResponseBuilder {
    let any = || ObjectBuilder::new().schema_type(SchemaType::AnyValue);
    let text = || ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
    let content = |schema: RefOr<Schema>| ContentBuilder::new().schema(Some(schema)).build();
    match answer {
        Answer::Empty(about) => ResponseBuilder::new().description(about),
        Answer::Json(name) => ResponseBuilder::new()
            .description("Done")
            .content("application/json", content(of(name))),
        Answer::Any => ResponseBuilder::new()
            .description("Done")
            .content("application/json", content(any().into())),
        Answer::Stream => ResponseBuilder::new()
            .description("A stream")
            .content(wire::EVENT_STREAM, content(frame().into())),
        Answer::Malformed => ResponseBuilder::new()
            .description("What is wrong")
            .content("text/plain", content(text().into()))
            .content(PROBLEM_JSON, content(of("Problem"))),
        Answer::Found => ResponseBuilder::new()
            .description("A WaitAnswer, or with content=binary the data of the event")
            .content("application/json", content(any().into()))
            .content("*/*", content(any().into())),
        Answer::Text(media_type) => ResponseBuilder::new()
            .description("Done")
            .content(media_type, content(text().into())),
        Answer::Events => ResponseBuilder::new()
            .description("A page, or a stream, as Accept asks")
            .content("application/json", content(of("EventPage")))
            .content(
                wire::CLOUDEVENT_BATCH_JSON,
                content(ArrayBuilder::new().items(of("Event")).into()),
            )
            .content(wire::EVENT_STREAM, content(frame().into()))
            .content(wire::NDJSON, content(text().into())),
    }
}

/// One of a stream's server-sent events.
fn frame() -> ObjectBuilder {
    let of_type = |of_type| ObjectBuilder::new().schema_type(SchemaType::new(of_type));
    ObjectBuilder::new()
        .description(Some("An event, or a control frame, of the stream"))
        .property("id", of_type(Type::String))
        .property("event", of_type(Type::String))
        .property("data", of_type(Type::String))
        .property("retry", of_type(Type::Integer))
        .required("data")
}

/// The names in braces of a path.
fn in_path(path: &str) -> impl Iterator<Item = &str> {
    path.split(['{', '}']).skip(1).step_by(2)
}

fn parameter(name: &str, place: ParameterIn, query: Query, about: &str) -> Parameter {
    let of_type = |of_type| ObjectBuilder::new().schema_type(SchemaType::new(of_type));
    let schema: RefOr<Schema> = match query {
        Query::Text if name == "namespace" => of_type(Type::String)
            .pattern(Some("^((?!system$)[a-z0-9_-]{1,64})?$"))
            .into(),
        // A stream takes any text for a cursor, and tells of a gap.
        Query::Text if name == "after" => AnyOfBuilder::new()
            .item(of_type(Type::String).enum_values(Some(["earliest", "latest"])))
            .item(of_type(Type::String))
            .into(),
        Query::Text => of_type(Type::String).pattern(form(name)).into(),
        Query::AnyOf(words) => ArrayBuilder::new()
            .items(of_type(Type::String).enum_values(Some(words.to_vec())))
            .into(),
        Query::Texts => ArrayBuilder::new()
            .items(
                of_type(Type::String)
                    .pattern(form_of_each(name))
                    .max_length(Some(limits::REFERENCE_BYTES)),
            )
            .max_items(Some(limits::FILTER_VALUES))
            .into(),
        Query::Number => of_type(Type::Integer).minimum(Some(0)).into(),
        Query::Count => of_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(1000))
            .into(),
        Query::Duration => of_type(Type::String)
            .pattern(Some("^(0*[0-9]{1,19}(ms|s|m|h))?$"))
            .into(),
        // An empty one is none.
        Query::Words(words) => of_type(Type::String)
            .enum_values(Some([words, &[""]].concat()))
            .into(),
    };
    let required = match place {
        ParameterIn::Path => Required::True,
        _ if name == "tenant_id" => Required::True,
        _ => Required::False,
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description((!about.is_empty()).then_some(about))
        .schema(Some(schema))
        .build()
}

/// What the values of a parameter look like, where that can be said.
fn form(name: &str) -> Option<&'static str> {
    match name {
        "session" | "id" => Some("^(?!\\.{1,2}$)[A-Za-z0-9._~:@-]{1,256}$"),
        "namespace" => Some("^[a-z0-9_-]{1,64}$"),
        "handle" => Some(forms::HANDLE),
        "group" => Some(forms::PATH_LABEL),
        "heartbeat" => Some(forms::HEARTBEAT),
        "tenant_id" => Some("^[A-Za-z0-9._~:@-]{1,128}$"),
        _ => None,
    }
}

/// The same of a parameter that may be repeated.
fn form_of_each(name: &str) -> Option<&'static str> {
    match name {
        "match" => Some(forms::MATCH),
        "path" => Some(forms::PATH),
        _ => None,
    }
}

fn of(name: &str) -> RefOr<Schema> {
    Ref::from_schema_name(name).into()
}

fn components() -> Components {
    let mut schemas: Vec<(String, RefOr<Schema>)> = Vec::new();
    macro_rules! add {
        ($($name:ty),+ $(,)?) => {
            $(
                schemas.push((<$name as ToSchema>::name().into_owned(), <$name as PartialSchema>::schema()));
                <$name as ToSchema>::schemas(&mut schemas);
            )+
        };
    }
    add!(
        wire::CancelAnswer,
        wire::CancelRequest,
        wire::CloseRequest,
        wire::ConnectionRenewed,
        wire::CreateRequest,
        wire::DeadLetterAnswer,
        wire::DeadLetterList,
        wire::DeadLetterRequest,
        wire::EventPage,
        wire::EventQuery,
        wire::GroupInfo,
        wire::GroupMoved,
        wire::GroupSkip,
        wire::MergeRequest,
        wire::PoisonRequest,
        wire::Problem,
        wire::SessionInfo,
        wire::SessionList,
        wire::SettleAnswer,
        wire::SettleRequest,
        wire::SignalCancelRequest,
        wire::SignalCreated,
        wire::SignalInfo,
        wire::SignalMerged,
        wire::SignalRenewRequest,
        wire::SignalRenewed,
        wire::SignalRequest,
        wire::SignalWhy,
        wire::TakeAnswer,
        wire::TakeRequest,
        wire::TicketCreated,
        wire::TicketRequest,
        wire::TriggerRequest,
        wire::WaitAnswer,
        Receipt,
    );
    schemas.push(("Event".to_owned(), event(false).into()));
    schemas.push(("CloudEvent".to_owned(), event(true).into()));
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let ticket = ApiKey::Query(ApiKeyValue::new(TICKET));
    let mut components = Components::new();
    components.schemas = schemas.into_iter().collect();
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer));
    components.add_security_scheme(TICKET, SecurityScheme::ApiKey(ticket));
    components
}

/// An event as publishers write it: whole, or in its short form, which has no version.
fn event(whole: bool) -> ObjectBuilder {
    let of_type = |of_type| ObjectBuilder::new().schema_type(SchemaType::new(of_type));
    let any = ObjectBuilder::new().schema_type(SchemaType::AnyValue);
    let event = ObjectBuilder::new()
        .property("type", of_type(Type::String))
        .property("data", any)
        .required("type");
    match whole {
        true => ["id", "source"]
            .into_iter()
            .fold(event, |event, name| {
                event.property(name, of_type(Type::String)).required(name)
            })
            .description(Some("A CloudEvent"))
            .property(
                "specversion",
                of_type(Type::String).enum_values(Some(["1.0"])),
            )
            .required("specversion"),
        false => {
            let maybe = || SchemaType::from_iter([Type::String, Type::Null]);
            let text = || ObjectBuilder::new().schema_type(maybe());
            event
                .description(Some("The short form of an event"))
                .property("id", text())
                .property("source", text())
                .property("specversion", of_type(Type::Null))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::page;

    fn document() -> Value {
        document_of(true)
    }

    #[test]
    fn the_document_has_every_route_and_no_other() {
        let document = document();
        assert_eq!(document["openapi"], "3.1.0");
        let mut described = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                described.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
        // The page is for people.
        let for_programs = |route: &&Route| {
            ![page::INDEX, page::PART].contains(&route.path) && route.method != Method::QUERY
        };
        let routes: BTreeSet<String> = Gateway::routes()
            .iter()
            .filter(for_programs)
            .map(|route| format!("{} {}", route.method, route.path))
            .collect();
        assert_eq!(described, routes);
        assert_eq!(OPERATIONS.len(), routes.len());
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_operation_has_a_name_of_its_own() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(members) => {
                    if let Some(Value::String(to)) = members.get("$ref") {
                        found.push(to.clone());
                    }
                    members.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 50);
        for to in found {
            let place = to.trim_start_matches('#');
            assert!(document.pointer(place).is_some(), "{to}");
        }
        let names: BTreeSet<&str> = OPERATIONS.iter().map(|o| o.id).collect();
        assert_eq!(names.len(), OPERATIONS.len());
    }
}
