//! Files that a configuration names: they must lie inside the model's folder.

use std::path::{Component, Path};

/// What a file name may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileName {
    /// A name without folders.
    Bare,
    /// A path below the folder that it is relative to.
    Below,
}

/// Whether `name` is a path to something below the folder that it is relative to.
pub fn stays_inside(name: &str) -> bool {
    !escapes(name, FileName::Below)
}

/// Whether `name` could name anything outside the folder that it is relative to.
pub(super) fn escapes(name: &str, allowed: FileName) -> bool {
    let components: Vec<_> = Path::new(name).components().collect();
    let inside = components
        .iter()
        .all(|component| matches!(component, Component::Normal(_)));
    let depth_allowed = match allowed {
        FileName::Bare => components.len() == 1 && !name.contains('/'),
        FileName::Below => !components.is_empty(),
    };
    !inside || !depth_allowed || name.contains(['\0', '\\'])
}
