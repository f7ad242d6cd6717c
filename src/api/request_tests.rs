use super::*;

fn set(name: &str, value: Parameter) -> Result<Options> {
    let mut options = Options::default();
    options.set(OptionName::new(name), value)?;
    Ok(options)
}

#[test]
fn consumes_what_the_server_knows_and_keeps_the_rest() {
    let id = |value| set("sequence_id", value).unwrap().correlation.id;
    assert_eq!(id(Parameter::Int(7)), CorrelationId::Number(7));
    assert_eq!(id(Parameter::Uint(0)), CorrelationId::None);
    assert_eq!(
        id(Parameter::String("s".into())),
        CorrelationId::Text("s".into())
    );
    assert_eq!(
        set("timeout", Parameter::Int(5)).unwrap().timeout,
        Some(Duration::from_micros(5))
    );
    assert_eq!(set("timeout", Parameter::Int(0)).unwrap().timeout, None);
    assert!(
        set("binary_data_output", Parameter::Bool(true))
            .unwrap()
            .binary_data_output
    );
    assert_eq!(
        set("mine", Parameter::Double(0.5)).unwrap().custom,
        [("mine".to_owned(), Parameter::Double(0.5))]
    );
}

#[test]
fn refuses_reserved_names_and_wrong_types() {
    for (name, value) in [
        ("triton_enable_empty_final_response", Parameter::Bool(true)),
        ("headers", Parameter::Int(1)),
        ("priority", Parameter::Int(-1)),
        ("priority", Parameter::String("1".into())),
        ("sequence_start", Parameter::Int(1)),
        ("sequence_id", Parameter::Double(1.0)),
        ("sequence_id", Parameter::String("x".repeat(129))),
    ] {
        let error = set(name, value).unwrap_err();
        assert_eq!(error.kind(), crate::error::ErrorKind::InvalidArgument);
        assert!(error.message().contains(name), "{error}");
    }
}

#[test]
fn header_fields_become_parameters_unless_their_names_are_taken() {
    let limits = Limits {
        parameters: 2,
        ..Limits::default()
    };
    let forward = |names: &[&str]| {
        let fields: Vec<_> = names
            .iter()
            .map(|&name| (name.to_owned(), "v".to_owned()))
            .collect();
        let mut options = set("mine", Parameter::Int(1)).unwrap();
        options.forward(&fields, &limits).map(|()| options.custom)
    };
    let custom = forward(&["my-header"]).unwrap();
    assert_eq!(
        custom[1],
        ("my-header".to_owned(), Parameter::String("v".into()))
    );
    for name in [
        "priority",
        "timeout",
        "headers",
        "triton_x",
        "binary_data_output",
    ] {
        let error = forward(&[name]).unwrap_err();
        assert!(error.message().contains("cannot be forwarded"), "{error}");
    }
    assert!(forward(&["mine"]).is_err());
    assert!(
        forward(&["a", "b"])
            .unwrap_err()
            .message()
            .contains("limit of 2")
    );
}

#[test]
fn refuses_names_given_twice() {
    for name in ["timeout", "mine"] {
        let mut options = set(name, Parameter::Int(1)).unwrap();
        let again = options.set(OptionName::new(name), Parameter::Int(2));
        assert!(again.unwrap_err().message().contains("given twice"));
    }
}
