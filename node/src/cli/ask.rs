//! `dynemix node ask`: a method of a running node's API, for people and scripts.

use super::args::{DirArgs, variable};
use super::ending::WrongUsage;
use super::output::{OutputArgs, Shown};
use clap::Args;
use dynemix::devnet::layout::Devnet;
use dynemix::face::table::{Form, METHODS, Method};
use dynemix::wallet::error::WalletError;
use dynemix::wallet::transport::{Transport, check_node};
use dynemix_perf::report::{json_text, table};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::error::Error;

/// Bytes of an answer at most.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

#[derive(Debug, Args)]
pub(crate) struct AskArgs {
    /// What is asked for; without it the methods are listed
    method: Option<String>,
    /// What it takes: the list of methods has the names
    #[arg(value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    /// A node's API; several are tried in turn [default: DYNEMIX_NODE, or http://127.0.0.1:8645/]
    #[arg(long, value_name = "URL")]
    node: Vec<String>,
    /// Ask the first node of this computer's devnet
    #[arg(long, conflicts_with = "node")]
    devnet: bool,
    #[command(flatten)]
    dir: DirArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl AskArgs {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        let Some(name) = &self.method else { return self.output.show(&Methods::all()) };
        let method = METHODS.iter().find(|method| method.name == name).ok_or_else(|| {
            let known: Vec<&str> = METHODS.iter().map(|method| method.name).collect();
            WrongUsage(format!("there is no method '{name}'; there are {}", known.join(", ")))
        })?;
        if ["subscribe", "unsubscribe"].contains(&method.name) {
            return Err(WrongUsage(format!("'{name}' is for a WebSocket, which brings news as they come")).into());
        }
        let params = params(method, &self.parameters)?;
        let nodes = self.nodes()?;
        nodes.iter().try_for_each(|node| check_node(node)).map_err(|why| WrongUsage(format!("--node {why}")))?;
        let (count, transport) = (nodes.len(), Transport::new(nodes));
        let mut answer = Err(WalletError::Node("nobody was asked".into()));
        for node in 0..count {
            answer = transport.ask::<Value>(node, method.name, &params, ANSWER_BYTES_MAX);
            if !matches!(answer, Err(WalletError::Unreachable { .. })) {
                break;
            }
        }
        self.output.show(&Told(answer?))
    }

    fn nodes(&self) -> Result<Vec<String>, Box<dyn Error>> {
        if self.devnet {
            let devnet = Devnet::read(&self.dir.directory())?;
            return Ok(vec![format!("http://{}/", devnet.api_address(0))]);
        }
        if !self.node.is_empty() {
            return Ok(self.node.clone());
        }
        let of_environment = variable("DYNEMIX_NODE")?.unwrap_or_default();
        let nodes: Vec<String> = of_environment.split_whitespace().map(str::to_owned).collect();
        Ok(if nodes.is_empty() { vec!["http://127.0.0.1:8645/".to_owned()] } else { nodes })
    }
}

/// Parameters by name; whether they are what the method takes, the node says.
fn params(method: &Method, given: &[String]) -> Result<Value, WrongUsage> {
    let mut params = Map::new();
    for text in given {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| WrongUsage(format!("'{text}' is no parameter: write NAME=VALUE, as height=12")))?;
        let form = method.parameters.iter().find(|parameter| parameter.0 == name).map(|parameter| parameter.1);
        let number = value.parse::<u64>().ok().filter(|_| matches!(form, Some(Form::Whole(_))));
        if params.insert(name.to_owned(), number.map_or_else(|| json!(value), |number| json!(number))).is_some() {
            return Err(WrongUsage(format!("parameter '{name}' is given twice")));
        }
    }
    Ok(Value::Object(params))
}

/// What the node says.
#[derive(Serialize)]
#[serde(transparent)]
struct Told(Value);

impl Shown for Told {
    fn text(&self) -> String {
        // A text that is asked for is for reading, as the genesis file.
        let plain = || json_text(&self.0).unwrap_or_else(|_| self.0.to_string());
        self.0.as_str().map_or_else(plain, str::to_owned)
    }
}

#[derive(Serialize)]
struct MethodRow {
    name: &'static str,
    parameters: Vec<&'static str>,
    what: &'static str,
}

/// The methods that there are.
#[derive(Serialize)]
struct Methods {
    methods: Vec<MethodRow>,
}

impl Methods {
    fn all() -> Methods {
        let row = |method: &Method| MethodRow {
            name: method.name,
            parameters: method.parameters.iter().map(|parameter| parameter.0).collect(),
            what: method.what,
        };
        Methods { methods: METHODS.iter().map(row).collect() }
    }
}

impl Shown for Methods {
    fn text(&self) -> String {
        let row = |row: &MethodRow| vec![row.name.to_owned(), row.parameters.join("\n"), row.what.to_owned()];
        let rows: Vec<_> = self.methods.iter().map(row).collect();
        table(&["method", "parameters", "what"], &rows)
    }
}
