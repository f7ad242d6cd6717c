//! File-system notifications as changes of models' folders. Decides nothing.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode},
};

use super::settle::{Change, Place};
use crate::inference::ModelName;

/// Hears of changes for as long as it lives.
pub(super) struct Watch {
    _watcher: RecommendedWatcher,
}

/// What is heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// This happened.
    Change(Change),
    /// Something happened that only a scan can find.
    Unknown,
    /// From now on changes may go unheard, for this reason.
    Deaf(String),
}

/// How often a watch is tried: folders that come and go meanwhile make it fail.
const ATTEMPT_COUNT: usize = 3;

impl Watch {
    /// Watches the folders, with all that is in them; `tell` is called on a thread of the watch
    /// and must not block.
    ///
    /// # Errors
    /// Why the system cannot do it, e.g. for want of inotify watches.
    pub(super) fn start(
        repositories: &[PathBuf],
        tell: impl Fn(Heard) + Send + 'static,
    ) -> Result<Self, notify::Error> {
        let roots = repositories.to_vec();
        let mut watcher = notify::recommended_watcher(move |event| match event {
            Ok(event) => translate(&event, &roots).into_iter().for_each(&tell),
            Err(error) => tell(Heard::Deaf(notify::Error::to_string(&error))),
        })?;
        for repository in repositories {
            let mut watch = || watcher.watch(repository, RecursiveMode::Recursive);
            let mut result = watch();
            for _ in 1..ATTEMPT_COUNT {
                result = result.or_else(|_| watch());
            }
            result?;
        }
        Ok(Self { _watcher: watcher })
    }
}

/// What an event means for models. Reads (our own loads, too) mean nothing.
fn translate(event: &Event, roots: &[PathBuf]) -> Vec<Heard> {
    if event.need_rescan() {
        return vec![Heard::Unknown];
    }
    if let EventKind::Modify(ModifyKind::Name(mode)) = event.kind {
        return renamed(mode, &event.paths, roots);
    }
    let mut heard = Vec::new();
    for path in &event.paths {
        let Some(place) = place(path, roots) else {
            continue;
        };
        heard.push(match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => Change::Closed(place),
            EventKind::Access(_) => continue,
            EventKind::Create(CreateKind::File) if is_being_written(path) => Change::Written(place),
            // The times of a folder can be set, as tar does; nobody has it open for writing.
            EventKind::Modify(ModifyKind::Data(_)) if !path.is_dir() => Change::Written(place),
            EventKind::Remove(_) => Change::Removed(place),
            _ => Change::Altered(place),
        });
    }
    heard.into_iter().map(Heard::Change).collect()
}

fn renamed(mode: RenameMode, paths: &[PathBuf], roots: &[PathBuf]) -> Vec<Heard> {
    let (from, to) = match (mode, paths) {
        (RenameMode::From, [from]) => (Some(from), None),
        (RenameMode::To, [to]) => (None, Some(to)),
        (RenameMode::Both, [from, to]) => (Some(from), Some(to)),
        _ => return vec![Heard::Unknown],
    };
    let from = from.and_then(|path| place(path, roots));
    let to = to.and_then(|path| place(path, roots));
    if from.is_none() && to.is_none() {
        // Of a repository itself, or of something hidden in it that models may be links to.
        return vec![Heard::Unknown];
    }
    vec![Heard::Change(Change::Moved { from, to })]
}

/// Whether a file just made will be closed by who made it: links never are.
fn is_being_written(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.nlink() == 1)
}

/// The model that a path belongs to. What lies directly in a repository, or is hidden there,
/// belongs to none.
fn place(path: &Path, roots: &[PathBuf]) -> Option<Place> {
    let relative = roots.iter().find_map(|root| path.strip_prefix(root).ok())?;
    let hidden = |part: &Component<'_>| part.as_os_str().as_encoded_bytes().starts_with(b".");
    if relative.components().any(|part| hidden(&part)) {
        return None;
    }
    let mut parts = relative.components();
    let name = parts.next()?.as_os_str().to_str()?;
    Some(Place {
        model: ModelName::new(name).ok()?,
        path: parts.as_path().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(model: &str, path: &str) -> Place {
        Place {
            model: ModelName::new(model).unwrap(),
            path: path.into(),
        }
    }

    fn event(kind: EventKind, paths: &[&str]) -> Vec<Heard> {
        let mut event = Event::new(kind);
        event.paths = paths.iter().map(PathBuf::from).collect();
        translate(&event, &["/a".into(), "/b/c".into()])
    }

    #[test]
    fn finds_the_model_that_a_path_belongs_to() {
        let roots = ["/a".into(), "/b/c".into()];
        let cases = [
            ("/a/m/1/model.onnx", Some(at("m", "1/model.onnx"))),
            ("/b/c/m", Some(at("m", ""))),
            ("/b/other/m", None),
            ("/a", None),
            ("/a/.staging/m/1", None),
            ("/a/m/.log", None),
            ("/a/m/1/.model.onnx.x7", None),
        ];
        for (path, expected) in cases {
            assert_eq!(place(Path::new(path), &roots), expected, "{path}");
        }
    }

    #[test]
    fn hears_writes_closes_and_removals_but_no_reads() {
        let data = EventKind::Modify(ModifyKind::Data(notify::event::DataChange::Any));
        let close = |mode| EventKind::Access(AccessKind::Close(mode));
        let open = EventKind::Access(AccessKind::Open(AccessMode::Any));
        let file = "/a/m/1/f";
        let place = || at("m", "1/f");
        let heard = |change| vec![Heard::Change(change)];
        assert_eq!(event(data, &[file]), heard(Change::Written(place())));
        assert_eq!(
            event(close(AccessMode::Write), &[file]),
            heard(Change::Closed(place()))
        );
        assert_eq!(
            event(EventKind::Remove(notify::event::RemoveKind::File), &[file]),
            heard(Change::Removed(place()))
        );
        assert_eq!(
            event(EventKind::Create(CreateKind::Folder), &["/a/m"]),
            heard(Change::Altered(at("m", "")))
        );
        assert_eq!(event(close(AccessMode::Read), &[file]), vec![]);
        assert_eq!(event(open, &[file]), vec![]);
    }

    #[test]
    fn a_rename_knows_the_sides_that_lie_in_models() {
        let rename = |mode| EventKind::Modify(ModifyKind::Name(mode));
        let moved = |from, to| vec![Heard::Change(Change::Moved { from, to })];
        assert_eq!(
            event(rename(RenameMode::Both), &["/a/.staging/2", "/a/m/2"]),
            moved(None, Some(at("m", "2")))
        );
        assert_eq!(
            event(rename(RenameMode::Both), &["/a/m", "/a/n"]),
            moved(Some(at("m", "")), Some(at("n", "")))
        );
        assert_eq!(
            event(rename(RenameMode::From), &["/a/m/1"]),
            moved(Some(at("m", "1")), None)
        );
        assert_eq!(
            event(rename(RenameMode::To), &["/a/..data"]),
            vec![Heard::Unknown]
        );
    }

    #[test]
    fn a_link_just_made_is_not_awaited() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(is_being_written(&file));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(!is_being_written(&link));
        fs::hard_link(&file, folder.path().join("hard")).unwrap();
        assert!(!is_being_written(&file));
    }
}
