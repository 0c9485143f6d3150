//! Log lines that name the request they belong to.

use std::fmt::{self, Write as _};

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use super::context::{Context, current};

/// A format of lines, and the request in front of or behind what it writes.
pub(super) struct WithRequest<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for WithRequest<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(request) = current() else { return self.0.format_event(context, writer, event) };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        writer.write_str(&named(&line, &request)?)
    }
}

/// The line with the request in it. All of its members are harmless: letters, digits and marks that need no escape.
fn named(line: &str, request: &Context) -> Result<String, fmt::Error> {
    let mut named = String::with_capacity(line.len() + 160);
    let members = [
        ("request_id", Some(request.id.to_string())),
        ("trace_id", request.trace.get().map(ToString::to_string)),
        ("route", request.route.get().map(|route| (*route).to_owned())),
    ];
    let members = members.into_iter().filter_map(|(name, value)| Some((name, value?)));
    match line.strip_prefix('{') {
        Some(rest) => {
            named.push('{');
            for (name, value) in members {
                write!(named, "\"{name}\":\"{value}\",")?;
            }
            named.push_str(rest);
        }
        None => {
            named.push_str(line.trim_end());
            for (name, value) in members {
                write!(named, " {name}={value}")?;
            }
            named.push('\n');
        }
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_name_their_request() {
        let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let request = Context::new("id-1".into(), Some(given));
        request.route.set("/v1/keys/{name}").unwrap();
        let line = named("{\"level\":\"INFO\"}\n", &request).unwrap();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["request_id"], "id-1");
        assert_eq!(value["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((&value["route"], &value["level"]), (&"/v1/keys/{name}".into(), &"INFO".into()));
        assert!(line.ends_with("}\n"));
        let request = Context::new("id-2".into(), None);
        assert_eq!(named("INFO something\n", &request).unwrap(), "INFO something request_id=id-2\n");
    }
}
