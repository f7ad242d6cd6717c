//! From a request's path to what it asks for. Paths are split before they are decoded, so that an
//! encoded `/` stays part of a name.

use std::borrow::Cow;

use hyper::Method;
use percent_encoding::percent_decode_str;

use crate::{
    admission::Verb,
    api::parse_version,
    error::{Error, Result},
    shared_memory::RegionKind,
};

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// One of Kubernetes' questions.
    Probe(Probe),
    /// The OpenAPI document.
    Description,
    ServerMetadata,
    Live,
    Ready,
    Model {
        name: Cow<'a, str>,
        version: Option<u64>,
        aspect: Aspect,
    },
    AllStatistics,
    Index,
    Load(Cow<'a, str>),
    Unload(Cow<'a, str>),
    /// Trace settings of a model; of all, if the name is empty.
    Trace(Cow<'a, str>),
    Logging,
    /// A repository call that names a repository.
    NamedRepository,
    /// What to do with a region of shared memory; without a name, with all of its kind.
    Region {
        kind: RegionKind,
        name: Option<Cow<'a, str>>,
        verb: RegionVerb,
    },
}

/// What a path asks to be done with regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RegionVerb {
    Status,
    Register,
    Unregister,
}

/// What an orchestrator asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    Live,
    Started,
    Ready,
}

/// What of a model a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aspect {
    Metadata,
    Ready,
    Config,
    Infer,
    Generate,
    GenerateStream,
    Statistics,
}

impl<'a> Route<'a> {
    /// The route of `path`; `None` if there is none.
    ///
    /// # Errors
    /// `InvalidArgument` for a version that does not fit 64 bits, or a name that is not UTF-8.
    pub(super) fn new(path: &'a str) -> Result<Option<Self>> {
        let Some(path) = path.strip_prefix("/v2") else {
            return Ok(probe(path));
        };
        let mut segments = path.split('/');
        let route = match (segments.next(), segments.next(), segments.next()) {
            (Some(""), None | Some(""), None) => Self::ServerMetadata,
            (Some(""), Some("health"), Some("live")) if segments.next().is_none() => Self::Live,
            (Some(""), Some("health"), Some("ready")) if segments.next().is_none() => Self::Ready,
            (Some(""), Some("models"), Some(name)) => return model(name, segments),
            (Some(""), Some("repository"), Some(next)) => return repository(next, segments),
            (Some(""), Some("systemsharedmemory"), Some(next)) => {
                return region(RegionKind::System, next, segments);
            }
            (Some(""), Some("cudasharedmemory"), Some(next)) => {
                return region(RegionKind::Cuda, next, segments);
            }
            (Some(""), Some("trace"), Some("setting")) if segments.next().is_none() => {
                Self::Trace(Cow::Borrowed(""))
            }
            (Some(""), Some("logging"), None) => Self::Logging,
            (Some(""), Some("openapi.json"), None) => Self::Description,
            _ => return Ok(None),
        };
        Ok(Some(route))
    }

    /// What a call of the route does.
    pub(super) fn verb(&self) -> Verb {
        match self {
            Self::Probe(_) | Self::Live | Self::Ready => Verb::Health,
            Self::Description | Self::ServerMetadata => Verb::Metadata,
            Self::Model { aspect, .. } => match aspect {
                Aspect::Metadata => Verb::Metadata,
                Aspect::Ready => Verb::Health,
                Aspect::Config => Verb::Config,
                Aspect::Infer | Aspect::Generate | Aspect::GenerateStream => Verb::Infer,
                Aspect::Statistics => Verb::Statistics,
            },
            Self::AllStatistics => Verb::Statistics,
            Self::Trace(_) => Verb::Trace,
            Self::Logging => Verb::Logging,
            Self::Index | Self::NamedRepository => Verb::Index,
            Self::Load(_) => Verb::Load,
            Self::Unload(_) => Verb::Unload,
            Self::Region { .. } => Verb::SharedMemory,
        }
    }

    /// The model that it is about; empty if it is about none, or about all.
    pub(super) fn model(&self) -> &str {
        match self {
            Self::Model { name, .. }
            | Self::Load(name)
            | Self::Unload(name)
            | Self::Trace(name) => name,
            Self::Probe(_)
            | Self::Description
            | Self::ServerMetadata
            | Self::Live
            | Self::Ready
            | Self::AllStatistics
            | Self::Index
            | Self::Logging
            | Self::NamedRepository
            | Self::Region { .. } => "",
        }
    }

    /// Whether `method` is one that the route answers to.
    pub(super) fn allows(&self, method: &Method) -> bool {
        let mut methods = self.methods().split(", ");
        methods.any(|allowed| allowed == method.as_str())
    }

    /// The methods that the route answers to, as the header field `Allow` lists them.
    pub(super) fn methods(&self) -> &'static str {
        const GET: &str = "GET";
        const POST: &str = "POST";
        match self {
            Self::Probe(_)
            | Self::Description
            | Self::ServerMetadata
            | Self::Live
            | Self::Ready
            | Self::AllStatistics => GET,
            Self::Model { aspect, .. } => match aspect {
                Aspect::Infer | Aspect::Generate | Aspect::GenerateStream => POST,
                Aspect::Metadata | Aspect::Ready | Aspect::Config | Aspect::Statistics => GET,
            },
            Self::Index | Self::Load(_) | Self::Unload(_) | Self::NamedRepository => POST,
            Self::Region { verb, .. } => match verb {
                RegionVerb::Status => GET,
                RegionVerb::Register | RegionVerb::Unregister => POST,
            },
            Self::Trace(_) | Self::Logging => "GET, POST",
        }
    }
}

/// What is not below `/v2`.
fn probe(path: &str) -> Option<Route<'_>> {
    let probe = match path {
        "/livez" => Probe::Live,
        "/startupz" => Probe::Started,
        "/readyz" => Probe::Ready,
        _ => return None,
    };
    Some(Route::Probe(probe))
}

/// `/v2/models/{name}` and what follows.
fn model<'a>(
    name: &'a str,
    mut segments: impl Iterator<Item = &'a str>,
) -> Result<Option<Route<'a>>> {
    let mut next = segments.next();
    if name == "stats" && next.is_none() {
        return Ok(Some(Route::AllStatistics));
    }
    let mut version = None;
    if next == Some("versions") {
        let Some(text) = segments.next().filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(None);
        }
        version = parse_version(text)?;
        next = segments.next();
    }
    let aspect = match next {
        None => Aspect::Metadata,
        Some("ready") => Aspect::Ready,
        Some("config") => Aspect::Config,
        Some("infer") => Aspect::Infer,
        Some("stats") => Aspect::Statistics,
        Some("generate") => Aspect::Generate,
        Some("generate_stream") => Aspect::GenerateStream,
        Some("trace") if version.is_none() && segments.next() == Some("setting") => {
            let is_model = !name.is_empty() && segments.next().is_none();
            return is_model.then(|| decode(name).map(Route::Trace)).transpose();
        }
        Some(_) => return Ok(None),
    };
    if name.is_empty() || segments.next().is_some() {
        return Ok(None);
    }
    let name = decode(name)?;
    Ok(Some(Route::Model {
        name,
        version,
        aspect,
    }))
}

/// `/v2/repository/{first}` and what follows.
fn repository<'a>(
    first: &'a str,
    mut segments: impl Iterator<Item = &'a str>,
) -> Result<Option<Route<'a>>> {
    let following = [(); 4].map(|()| segments.next());
    let route = match (first, following) {
        ("index", [None, ..]) => Route::Index,
        ("models", [Some(name), Some("load"), None, _]) => Route::Load(decode(name)?),
        ("models", [Some(name), Some("unload"), None, _]) => Route::Unload(decode(name)?),
        // As in Triton: the index takes no notice of the repository's name.
        (_, [Some("index"), None, ..]) => Route::Index,
        (_, [Some("models"), Some(_), Some("load" | "unload"), None]) => Route::NamedRepository,
        _ => return Ok(None),
    };
    Ok(Some(route))
}

/// `/v2/systemsharedmemory/{first}` or `/v2/cudasharedmemory/{first}`, and what follows.
fn region<'a>(
    kind: RegionKind,
    first: &'a str,
    mut segments: impl Iterator<Item = &'a str>,
) -> Result<Option<Route<'a>>> {
    let (name, verb) = match (first, segments.next(), segments.next()) {
        ("region", Some(name), Some(verb)) if !name.is_empty() => (Some(decode(name)?), verb),
        (verb, None, None) => (None, verb),
        _ => return Ok(None),
    };
    let verb = match verb {
        "status" => RegionVerb::Status,
        "register" => RegionVerb::Register,
        "unregister" => RegionVerb::Unregister,
        _ => return Ok(None),
    };
    let is_whole = segments.next().is_none();
    Ok(is_whole.then_some(Route::Region { kind, name, verb }))
}

fn decode(name: &str) -> Result<Cow<'_, str>> {
    percent_decode_str(name).decode_utf8().map_err(|_| {
        Error::invalid_argument("path_name", "the name in the path is not valid UTF-8")
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn model(name: &str, version: Option<u64>, aspect: Aspect) -> Route<'_> {
        Route::Model {
            name: name.into(),
            version,
            aspect,
        }
    }

    fn region(kind: RegionKind, name: Option<&'static str>, verb: RegionVerb) -> Route<'static> {
        let name = name.map(Cow::from);
        Route::Region { kind, name, verb }
    }

    /// A path of every route there is.
    pub(in crate::api::http) fn paths() -> impl Iterator<Item = &'static str> {
        table().into_iter().map(|(path, _)| path)
    }

    fn table() -> Vec<(&'static str, Route<'static>)> {
        vec![
            ("/livez", Route::Probe(Probe::Live)),
            ("/startupz", Route::Probe(Probe::Started)),
            ("/readyz", Route::Probe(Probe::Ready)),
            ("/v2", Route::ServerMetadata),
            ("/v2/", Route::ServerMetadata),
            ("/v2/openapi.json", Route::Description),
            ("/v2/health/live", Route::Live),
            ("/v2/health/ready", Route::Ready),
            ("/v2/models/m", model("m", None, Aspect::Metadata)),
            (
                "/v2/models/a%2Fb%20c",
                model("a/b c", None, Aspect::Metadata),
            ),
            ("/v2/models/m/ready", model("m", None, Aspect::Ready)),
            (
                "/v2/models/m/versions/3",
                model("m", Some(3), Aspect::Metadata),
            ),
            (
                "/v2/models/m/versions/3/infer",
                model("m", Some(3), Aspect::Infer),
            ),
            (
                "/v2/models/m/versions/3/config",
                model("m", Some(3), Aspect::Config),
            ),
            ("/v2/models/stats", Route::AllStatistics),
            (
                "/v2/models/stats/infer",
                model("stats", None, Aspect::Infer),
            ),
            ("/v2/models/m/stats", model("m", None, Aspect::Statistics)),
            ("/v2/models/m/generate", model("m", None, Aspect::Generate)),
            (
                "/v2/models/m/versions/2/generate_stream",
                model("m", Some(2), Aspect::GenerateStream),
            ),
            ("/v2/models/m/trace/setting", Route::Trace("m".into())),
            ("/v2/repository/index", Route::Index),
            ("/v2/repository/models/m/load", Route::Load("m".into())),
            (
                "/v2/repository/models/%2e%2e/unload",
                Route::Unload("..".into()),
            ),
            ("/v2/repository/r/index", Route::Index),
            ("/v2/repository/r/models/m/load", Route::NamedRepository),
            (
                "/v2/systemsharedmemory/status",
                region(RegionKind::System, None, RegionVerb::Status),
            ),
            (
                "/v2/systemsharedmemory/unregister",
                region(RegionKind::System, None, RegionVerb::Unregister),
            ),
            (
                "/v2/cudasharedmemory/region/a%2Fb/register",
                region(RegionKind::Cuda, Some("a/b"), RegionVerb::Register),
            ),
            ("/v2/trace/setting", Route::Trace("".into())),
            ("/v2/logging", Route::Logging),
        ]
    }

    #[test]
    fn finds_every_route() {
        for (path, route) in table() {
            assert_eq!(Route::new(path).unwrap(), Some(route), "{path}");
        }
    }

    #[test]
    fn finds_nothing_elsewhere() {
        for path in [
            "",
            "/",
            "/v1",
            "/livez/",
            "/v2/livez",
            "/v2x",
            "/v2/health",
            "/v2/health/live/x",
            "/v2/models",
            "/v2/models/",
            "/v2/models//infer",
            "/v2/models/m/",
            "/v2/models/m/infer/x",
            "/v2/models/m/versions",
            "/v2/models/m/versions/",
            "/v2/models/m/versions/1/trace/setting",
            "/v2/models/m/trace/setting/x",
            "/v2/models//trace/setting",
            "/v2/trace/setting/x",
            "/v2/repository/models/m",
            "/v2/repository/models/m/load/x",
            "/v2/repository/index/x",
            "/v2/systemsharedmemory",
            "/v2/systemsharedmemory/region/r",
            "/v2/systemsharedmemory/region//status",
            "/v2/systemsharedmemory/region/r/status/x",
            "/v2/cudasharedmemory/status/x",
            "/v2/cudasharedmemory/delete",
        ] {
            assert_eq!(Route::new(path).unwrap(), None, "{path}");
        }
    }

    #[test]
    fn versions_are_numbers_that_fit_and_names_are_text() {
        for path in [
            "/v2/models/m/versions/18446744073709551616",
            "/v2/models/%ff",
            "/v2/systemsharedmemory/region/%ff/status",
        ] {
            assert!(Route::new(path).is_err(), "{path}");
        }
        for path in ["/v2/models/m/versions/x/infer", "/v2/models/m/versions/-1"] {
            assert_eq!(Route::new(path).unwrap(), None, "{path}");
        }
    }

    #[test]
    fn inference_is_posted_and_metadata_is_read() {
        let infer = model("m", None, Aspect::Infer);
        assert!(infer.allows(&Method::POST) && !infer.allows(&Method::GET));
        assert!(Route::Live.allows(&Method::GET) && !Route::Live.allows(&Method::POST));
        assert!(Route::Index.allows(&Method::POST) && !Route::Index.allows(&Method::DELETE));
    }
}
