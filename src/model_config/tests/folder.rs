use std::fs;

use super::*;

#[test]
fn reads_the_one_file_that_a_folder_holds() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let read = |name| read_from_folder(at, name, 64).map(|config| config.map(|c| c.name));
    assert_eq!(read(None), Ok(None));

    fs::write(at.join("config.yml"), "\u{feff}name: yml").unwrap();
    assert_eq!(read(None), Ok(Some("yml".into())));
    fs::create_dir(at.join("configs")).unwrap();
    fs::write(at.join("configs/fast.pbtxt"), "name: 'fast'").unwrap();
    assert_eq!(read(Some("fast")), Ok(Some("fast".into())));
    assert_eq!(read(Some("slow")), Ok(Some("yml".into())));

    fs::write(at.join("config.json"), "{}").unwrap();
    assert_eq!(
        read(None).unwrap_err().to_string(),
        format!(
            "{}: more than one model configuration: config.yml, config.json; keep one of them",
            at.display()
        )
    );
    assert_eq!(
        read(Some("../config")).unwrap_err().to_string(),
        "model config name '../config' must be a plain file name"
    );
}

#[test]
fn refuses_files_that_are_too_large_or_not_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.pbtxt");
    let read = || read_from_folder(folder.path(), None, 16).unwrap_err();
    let says = |reason: &str| format!("{}: {reason}", path.display());

    fs::write(&path, [b' '; 17]).unwrap();
    assert_eq!(
        read().to_string(),
        says("is 17 bytes long, the limit is 16")
    );
    fs::write(&path, b"name: '\xff'").unwrap();
    assert_eq!(
        read().to_string(),
        says("is not UTF-8: invalid utf-8 sequence of 1 bytes from index 7")
    );
    fs::write(&path, "nam: 'x'").unwrap();
    assert_eq!(
        read().to_string(),
        format!(
            "{}:1:1: unknown field 'nam' in ModelConfig, did you mean 'name'?",
            path.display()
        )
    );
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(read().to_string(), says("is not a regular file"));
}
