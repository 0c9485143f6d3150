//! What every route may be asked and may answer beside its result: headers and problems, out of the table of routes and the table of
//! errors. A handler documents what is its own.

use actix_web::http::Method;
use claviger_policy::{Permission, Target};
use utoipa::{
    Modify,
    openapi::{
        Content, Header, HeaderBuilder, ObjectBuilder, OpenApi, PathItem, Ref, RefOr, Required, Response,
        ResponseBuilder, Schema, Type,
        extensions::Extensions,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
        schema::Components,
    },
};

use crate::http::{
    problem::Code,
    table::{self, Access, Found, Kind, Route, Scope},
};

/// Statuses of problems, with the name of the response in the document.
const PROBLEMS: [(u16, &str); 9] = [
    (400, "Invalid"),
    (401, "Unauthorized"),
    (403, "Forbidden"),
    (404, "NotFound"),
    (409, "Conflict"),
    (412, "PreconditionFailed"),
    (413, "PayloadTooLarge"),
    (429, "RateLimited"),
    (503, "Unavailable"),
];

/// Adds them to the document.
pub(super) struct Answers;

impl Modify for Answers {
    fn modify(&self, document: &mut OpenApi) {
        define(document.components.get_or_insert_default());
        for (pattern, item) in &mut document.paths.paths {
            for (method, operation) in operations(item) {
                if let Found::Route(route) = table::find(&method, pattern) {
                    complete(route, operation);
                }
            }
        }
    }
}

/// The operations of a path, with their methods.
pub(super) fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let all = [
        (Method::GET, item.get.as_mut()),
        (Method::PUT, item.put.as_mut()),
        (Method::POST, item.post.as_mut()),
        (Method::DELETE, item.delete.as_mut()),
        (Method::PATCH, item.patch.as_mut()),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation?)))
}

fn complete(route: &Route, operation: &mut Operation) {
    let parameters =
        parameters(route).map(|name| RefOr::Ref(Ref::new(format!("#/components/parameters/{name}"))));
    operation.parameters.get_or_insert_default().extend(parameters);
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            every_answer(response);
        }
    }
    let Access::Needs(permission) = route.access else {
        operation.security = Some(Vec::new());
        return;
    };
    for (status, name) in PROBLEMS {
        if may_answer(route, permission, operation, status) {
            let response = Ref::from_response_name(name).into();
            operation.responses.responses.insert(status.to_string(), response);
        }
    }
}

fn may_answer(route: &Route, permission: Permission, operation: &Operation, status: u16) -> bool {
    let in_path = matches!(route.scope(permission), Scope::Path(_));
    match status {
        // The door's: a header of the wrong form, the credential, the permission, the epoch, the audit log.
        400 | 401 | 403 | 412 | 429 | 503 => true,
        404 => {
            let in_body = [
                Permission::TokenIssue,
                Permission::TokenRefresh,
                Permission::TokenRevoke,
                Permission::SecretList,
                Permission::DevicePair,
                Permission::DeviceToken,
                Permission::IncidentOpen,
                Permission::IncidentApprove,
                Permission::IncidentClose,
                Permission::AlertAck,
            ];
            let is_read = matches!(
                permission,
                Permission::IncidentRead | Permission::AlertRead | Permission::AlertSilence
            );
            let by_id = is_read && route.pattern.contains('{');
            by_id || in_path || in_body.contains(&permission)
        }
        // Even a look at a key has no answer while its row is damaged.
        409 if permission.target() == Target::Key => in_path || route.kind != Kind::Read,
        409 if permission.target().is_stored() => true,
        409 => {
            [
                Permission::ApiKeyDelete,
                Permission::SealRotate,
                Permission::DevicePair,
                Permission::DeviceToken,
                Permission::IncidentOpen,
                Permission::IncidentApprove,
                Permission::IncidentClose,
            ]
            .contains(&permission)
                || permission == Permission::AlertSilence && route.method == Method::POST
        }
        413 => operation.request_body.is_some() || route.is_retried(),
        _ => false,
    }
}

/// Names of the headers that a route reads.
fn parameters(route: &Route) -> impl Iterator<Item = &'static str> {
    let known = route.access != Access::Public;
    let is_of_store = matches!(route.access, Access::Needs(permission) if permission.target().is_stored());
    let of_store = is_of_store && matches!(route.method, Method::PUT | Method::DELETE);
    let conditional = of_store
        || [Permission::KeyUpdate, Permission::PolicyWrite].map(Access::Needs).contains(&route.access);
    let all = [
        ("RequestId", true),
        ("MinEpoch", known),
        ("IdempotencyKey", known && route.is_retried()),
        ("IfMatch", conditional),
        ("IfNoneMatch", of_store),
    ];
    all.into_iter().filter(|(_, read)| *read).map(|(name, _)| name)
}

fn define(components: &mut Components) {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let whole = || ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
    let headers = [
        ("RequestId", header("Id of this request, in the audit log and in problems", text())),
        ("Epoch", header("Epoch of the ring that this node has reached", whole())),
        ("RetryAfter", header("Seconds", whole())),
        ("WwwAuthenticate", header("How to authenticate (RFC 9110 §11.6.1)", text())),
    ];
    components.headers.extend(headers.map(|(name, header)| (name.to_owned(), header.into())));
    let key = text().min_length(Some(1)).max_length(Some(255));
    let parameters = [
        (
            "RequestId",
            parameter("X-Request-Id", "1 to 64 of A-Z a-z 0-9 . _ -; another one is replaced", text()),
        ),
        (
            "MinEpoch",
            parameter("X-Claviger-Min-Epoch", "Refuse unless the ring has reached this epoch", whole()),
        ),
        ("IdempotencyKey", parameter("Idempotency-Key", "The same key gets the same answer for 24 h", key)),
        ("IfMatch", parameter("If-Match", "Refuse unless this is the ETag of what is there", text())),
        (
            "IfNoneMatch",
            parameter(
                "If-None-Match",
                "Refuse if this is the ETag of what is there; * = if anything is",
                text(),
            ),
        ),
    ];
    components.parameters.extend(parameters.map(|(name, parameter)| (name.to_owned(), parameter.into())));
    let problems = PROBLEMS.map(|(status, name)| (name.to_owned(), problem(status).into()));
    components.responses.extend(problems);
}

fn header(description: &str, schema: ObjectBuilder) -> Header {
    let mut header = HeaderBuilder::new()
        .description(Some(description))
        .schema(Some(Schema::from(schema.build())))
        .build();
    // utoipa's type does not know the member, and without it a missing header would be right.
    header.extensions = Some(Extensions::from_iter([("required", true)]));
    header
}

fn parameter(name: &str, description: &str, schema: ObjectBuilder) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(Schema::from(schema.build())))
        .build()
}

fn problem(status: u16) -> Response {
    let codes: Vec<String> = Code::ALL
        .iter()
        .filter(|code| code.status() == status)
        .map(|code| format!("`{}`", code.as_str()))
        .collect();
    let content = Content::new(Some(Ref::from_schema_name("Problem")));
    let response = ResponseBuilder::new()
        .description(format!("A problem: {}", codes.join(", ")))
        .content("application/problem+json", content);
    let response = match status {
        401 => response.header_ref("WWW-Authenticate", header_ref("WwwAuthenticate")),
        429 | 503 => response.header_ref("Retry-After", header_ref("RetryAfter")),
        _ => response,
    };
    let mut response = response.build();
    every_answer(&mut response);
    response
}

/// What the door puts on whatever it lets out.
fn every_answer(response: &mut Response) {
    for (name, component) in [("X-Request-Id", "RequestId"), ("X-Claviger-Epoch", "Epoch")] {
        response.headers.insert(name.to_owned(), RefOr::Ref(header_ref(component)));
    }
}

fn header_ref(component: &str) -> Ref {
    Ref::new(format!("#/components/headers/{component}"))
}
