//! Which web pages may ask. A browser lets every page ask every address of its computer, and names the page that does
//! (`Origin`) and the name by which it came here (`Host`): a name of the page's own can lead here too.

use super::connection::Caller;
use super::served::{Served, refuse};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;

/// Letters of a page's origin, or of a name, that it is told again.
const SHOWN: usize = 200;
/// Seconds for which a browser remembers that a page may ask.
const REMEMBERED_S: &str = "600";

fn shown(text: &HeaderValue) -> String {
    String::from_utf8_lossy(text.as_bytes()).chars().take(SHOWN).collect()
}

/// Whether who came from this computer came by a name of this computer: an address, `localhost`, or one that is
/// allowed. Others come from elsewhere, by whatever name the node has there.
fn is_own_name(host: &HeaderValue, hosts: &[String]) -> bool {
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok()
        || name == "localhost"
        || name.ends_with(".localhost")
        || hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(&name))
}

/// Why who asks is not answered, if so.
fn refusal(headers: &HeaderMap, from_here: bool, origins: &[String], hosts: &[String]) -> Option<String> {
    if let Some(host) = headers.get(header::HOST).filter(|host| from_here && !is_own_name(host, hosts)) {
        let host = shown(host);
        return Some(format!("'{host}' is no name of this computer; the node's operator allows it by api.hosts"));
    }
    let origin = headers.get(header::ORIGIN)?;
    let page = shown(origin);
    let what = format!("web pages of '{page}' may not ask this node; its operator allows them by api.origins");
    (!is_allowed(origin, origins)).then_some(what)
}

fn is_allowed(origin: &HeaderValue, origins: &[String]) -> bool {
    origins.iter().any(|allowed| allowed == "*" || allowed.as_bytes() == origin.as_bytes())
}

/// Lets through who may ask, and tells browsers that their page may read the answer.
pub(super) async fn mind(
    State(served): State<Served>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    request: Request,
    next: Next,
) -> Response {
    let config = &served.api.config;
    let headers = request.headers();
    let origin = headers.get(header::ORIGIN).cloned();
    if let Some(what) = refusal(headers, caller.0.from_here, &config.origins, &config.hosts) {
        return refuse(caller.0.turn().await, StatusCode::FORBIDDEN, &what);
    }
    let mut response = match (request.method() == Method::OPTIONS, &origin) {
        (true, _) => {
            drop(caller.0.turn().await);
            let allow = [(header::ALLOW, "GET, POST, OPTIONS")];
            (StatusCode::NO_CONTENT, allow).into_response()
        }
        (false, _) => next.run(request).await,
    };
    if let Some(origin) = origin {
        let out = response.headers_mut();
        out.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        out.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
        out.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
        out.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(REMEMBERED_S));
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(host: &str, origin: Option<&str>, from_here: bool) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        origin.into_iter().for_each(|origin| drop(headers.insert(header::ORIGIN, origin.parse().unwrap())));
        let (origins, hosts) = (["https://wallet.example".to_owned()], ["node.example".to_owned()]);
        refusal(&headers, from_here, &origins, &hosts)
    }

    #[test]
    fn on_loopback_only_names_of_this_computer_lead_here() {
        for own in [
            "localhost",
            "localhost:8645",
            "LocalHost:1",
            "127.0.0.1:8645",
            "[::1]:8645",
            "[::1]",
            "10.0.0.7:1",
            "a.localhost:80",
            "node.example:443",
        ] {
            assert_eq!(why(own, None, true), None, "{own}");
        }
        for foreign in [
            "evil.example",
            "evil.example:8645",
            "127.0.0.1.evil.example",
            "localhost.evil.example:1",
            "",
            "[evil]:1",
            "xlocalhost",
        ] {
            assert!(why(foreign, None, true).unwrap().contains("api.hosts"), "{foreign}");
            assert_eq!(why(foreign, None, false), None, "who comes from elsewhere comes by any name");
        }
        for origin in ["http://evil.example", "null", "https://wallet.example.evil", "http://127.0.0.1:8645", ""] {
            assert!(why("localhost", Some(origin), true).unwrap().contains("api.origins"), "{origin}");
            assert!(why("node.far", Some(origin), false).is_some(), "{origin} from elsewhere");
        }
        assert_eq!(why("localhost", Some("https://wallet.example"), true), None);
    }
}
