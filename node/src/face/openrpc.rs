//! The description of the API for programs: the table of methods, with the schemas of what they answer.

use super::answered::ERRORS;
use super::answers::News;
use super::table::{METHODS, Method, Parameter, example};
use dynemix_engine::base::refusal::Refusal;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

const ABOUT: &str = "Amounts are units, a dyne is 1 000 000 of them. Times that end with _ms, but for those of Unix time, \
                     count from slot 0, which began at start_unix_ms. Keys, ids and hashes are hexadecimal digits in \
                     lower case.";

fn parameter(Parameter(name, form, required, what): &Parameter) -> Value {
    json!({ "name": name, "required": required, "description": what, "schema": form.schema() })
}

fn method(method: &Method, generator: &mut SchemaGenerator) -> Value {
    let of = |error: &&(&str, i64, &str, bool)| error.3 || method.errors.contains(&error.1);
    let errors = ERRORS.iter().filter(of).map(|error| json!({ "$ref": format!("#/components/errors/{}", error.0) }));
    let params = example(method);
    let said = method.parameters.iter().filter_map(|parameter| Some((parameter.0, params.get(parameter.0)?)));
    let shown: Vec<Value> = said.map(|(name, value)| json!({ "name": name, "value": value })).collect();
    json!({
        "name": method.name,
        "description": method.what,
        "paramStructure": "either",
        "params": method.parameters.iter().map(parameter).collect::<Vec<_>>(),
        "result": { "name": "result", "description": method.result, "schema": (method.schema)(generator) },
        "errors": errors.collect::<Vec<_>>(),
        "examples": [{ "name": method.name, "params": shown }],
    })
}

/// The description of the API for programs.
pub fn openrpc() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let methods: Vec<Value> = METHODS.iter().map(|of| method(of, &mut generator)).collect();
    generator.subschema_for::<News>();
    let mut schemas = generator.take_definitions(true);
    let refusal = |refusal: &Refusal| json!({ "const": refusal.name(), "description": refusal.says() });
    let refusals: Vec<Value> = Refusal::ALL.iter().map(refusal).collect();
    let what = "Why a transaction is refused: data.refusal of the error, refusal of 'transaction'.";
    schemas.insert("Refusal".into(), json!({ "type": "string", "description": what, "oneOf": refusals }));
    let error = |error: &(&str, i64, &str, bool)| {
        let value = json!({ "code": error.1, "message": error.2, "data": { "error": error.0 } });
        (error.0.to_owned(), value)
    };
    let errors: Map<String, Value> = ERRORS.iter().map(error).collect();
    json!({
        "openrpc": "1.3.2",
        "info": {
            "title": "Dynemix node",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
        },
        "servers": [{ "name": "a node of one's own", "url": "http://127.0.0.1:8645/" }],
        "methods": methods,
        "components": { "errors": errors, "schemas": schemas },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    #[test]
    fn the_description_in_the_documents_is_this_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openrpc.json");
        let text = serde_json::to_string_pretty(&openrpc()).unwrap() + "\n";
        if std::env::var_os("DYNEMIX_BLESS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        assert_eq!(
            fs::read_to_string(&path).unwrap_or_default(),
            text,
            "run again with DYNEMIX_BLESS=1 and look at the difference"
        );
    }

    #[test]
    fn every_schema_that_is_named_is_there_and_none_says_nothing() {
        let document = openrpc();
        let text = document.to_string();
        for name in text.split("\"#/components/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(document.pointer(&format!("/components/{name}")).is_some(), "{name}");
        }
        let methods = document["methods"].as_array().unwrap();
        let typed = |method: &&Value| {
            let schema = &method["result"]["schema"];
            schema.get("type").is_some() || schema.get("$ref").is_some()
        };
        let untyped: Vec<_> = methods.iter().filter(|method| !typed(method)).map(|method| &method["name"]).collect();
        assert_eq!(untyped, ["rpc.discover"]);
    }
}
