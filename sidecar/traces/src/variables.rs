//! What the standard's variables ask for.

use std::io;

use http::Uri;
use thiserror::Error;

/// Where a collector listens, for everything that it takes.
pub const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// Where it takes traces, as it is.
const OF_TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
/// Who says how traces are exported; the first that says anything decides.
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];

/// Why nothing is exported although it was asked for. It names the variable, and repeats nothing of what it says.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The named variable asks for another protocol.
    #[error("{0}: traces are exported as http/protobuf, and not otherwise")]
    Protocol(&'static str),
    /// The named variable is no URL, or not of a collector.
    #[error("{0}: traces cannot be exported there; write a URL such as http://collector:4318")]
    Endpoint(&'static str),
    /// The named variable is a URL with a user. Libraries would tell it to their logs.
    #[error("{0}: a URL must name no user; a password belongs into OTEL_EXPORTER_OTLP_HEADERS")]
    User(&'static str),
    /// The collector speaks TLS, and this machine trusts nobody.
    #[error("no authority is known that could vouch for the collector of traces")]
    Trust(#[source] io::Error),
}

/// An export that is wanted.
pub(crate) struct Asked {
    /// Where the collector takes traces: `http` or `https`, a host and no user.
    pub(crate) endpoint: Uri,
    /// Who says so.
    pub(crate) variable: &'static str,
    /// Whether the variables call the service by a name.
    pub(crate) is_named: bool,
}

/// What `says` asks for, if it asks for an export at all. What is said in blanks is not said.
///
/// # Errors
/// When it asks for what there is not.
pub(crate) fn asked(says: impl Fn(&str) -> Option<String>) -> Result<Option<Asked>, Refusal> {
    let says = |name: &str| says(name).map(|said| said.trim().to_owned()).filter(|said| !said.is_empty());
    let is = |name, value| says(name).is_some_and(|said| said.eq_ignore_ascii_case(value));
    let of_traces = says(OF_TRACES).map(|endpoint| (OF_TRACES, endpoint));
    let general = || says(ENDPOINT).map(|url| (ENDPOINT, format!("{}/v1/traces", url.trim_end_matches('/'))));
    let Some((variable, endpoint)) = of_traces.or_else(general) else { return Ok(None) };
    if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
        return Ok(None);
    }
    if let Some(protocol) = PROTOCOLS.into_iter().find(|name| says(name).is_some())
        && !is(protocol, "http/protobuf")
    {
        return Err(Refusal::Protocol(protocol));
    }
    let endpoint = endpoint.parse().map_err(|_| Refusal::Endpoint(variable))?;
    check(&endpoint, variable)?;
    let attributes = says("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let is_named = says("OTEL_SERVICE_NAME").is_some()
        || attributes.split(',').any(|attribute| attribute.trim_start().starts_with("service.name="));
    Ok(Some(Asked { endpoint, variable, is_named }))
}

fn check(endpoint: &Uri, variable: &'static str) -> Result<(), Refusal> {
    let is_http = matches!(endpoint.scheme_str(), Some("http" | "https"));
    let Some(authority) = endpoint.authority().filter(|_| is_http) else {
        return Err(Refusal::Endpoint(variable));
    };
    if authority.as_str().contains('@') { Err(Refusal::User(variable)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLLECTOR: (&str, &str) = (ENDPOINT, "http://collector:4318");

    fn ask(said: &[(&str, &str)]) -> Result<Option<Asked>, Refusal> {
        asked(|name| said.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    fn endpoint(said: &[(&str, &str)]) -> Option<String> {
        ask(said).unwrap().map(|asked| asked.endpoint.to_string())
    }

    #[test]
    fn nothing_is_exported_unless_an_endpoint_is_named_and_nothing_forbids_it() {
        assert_eq!(endpoint(&[]), None);
        assert_eq!(endpoint(&[(ENDPOINT, "")]), None);
        assert_eq!(endpoint(&[(ENDPOINT, " "), (OF_TRACES, "")]), None);
        assert_eq!(endpoint(&[COLLECTOR, ("OTEL_SDK_DISABLED", "TRUE")]), None);
        assert_eq!(endpoint(&[COLLECTOR, ("OTEL_TRACES_EXPORTER", "none")]), None);
        assert!(endpoint(&[COLLECTOR, ("OTEL_SDK_DISABLED", "false")]).is_some());
    }

    #[test]
    fn the_general_endpoint_is_gone_on_from_and_that_of_traces_is_taken_as_it_is() {
        assert_eq!(endpoint(&[COLLECTOR]).unwrap(), "http://collector:4318/v1/traces");
        assert_eq!(endpoint(&[(ENDPOINT, " https://c/otlp/ ")]).unwrap(), "https://c/otlp/v1/traces");
        let own = (OF_TRACES, "http://traces:4318/elsewhere");
        assert_eq!(endpoint(&[COLLECTOR, own]).unwrap(), own.1);
    }

    #[test]
    fn another_protocol_is_refused_and_that_of_traces_decides() {
        let [of_traces, general] = PROTOCOLS;
        let refused = |said: &[_]| matches!(ask(said), Err(Refusal::Protocol(_)));
        assert!(refused(&[COLLECTOR, (general, "grpc")]));
        assert!(refused(&[COLLECTOR, (general, "http/protobuf"), (of_traces, "http/json")]));
        assert!(!refused(&[COLLECTOR, (general, "grpc"), (of_traces, "HTTP/protobuf")]));
        assert!(!refused(&[(general, "grpc")]), "nobody asked for an export");
    }

    #[test]
    fn what_is_refused_is_not_repeated() {
        for url in [
            "http://u:hunter2@collector:4318",
            "https://hunter2@collector",
            "http://u:hunter2@not an address",
            "u:hunter2@collector",
            "hunter2:4318",
            "ftp://hunter2",
            "http://",
            "/hunter2",
        ] {
            for variable in [ENDPOINT, OF_TRACES] {
                let refusal = ask(&[(variable, url)]).err().unwrap_or_else(|| panic!("{url} is accepted"));
                let words = format!("{refusal} {refusal:?}");
                assert!(words.starts_with(variable) && !words.contains("hunter2"), "{words}");
            }
        }
    }

    #[test]
    fn a_service_is_named_by_either_of_two_variables() {
        let named = |said| ask(&[COLLECTOR, said]).unwrap().unwrap().is_named;
        assert!(named(("OTEL_SERVICE_NAME", "shop")));
        assert!(named(("OTEL_RESOURCE_ATTRIBUTES", "team=a, service.name=shop")));
        assert!(!named(("OTEL_RESOURCE_ATTRIBUTES", "my.service.name=shop")));
    }
}
