"""Services to register: descriptors made by hand, and their messages."""

from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from vocabulary.identifiers import ServiceId, SubsystemId

TAX = SubsystemId.parse("EE-TEST/GOV/70000349/tax")
POPULATION = SubsystemId.parse("EE-TEST/GOV/70008440/population")
PERSONS = ServiceId(POPULATION, "persons", "v1")

GET = "persons.v1.Persons/Get"
LIST = "persons.v1.Persons/List"
WATCH = "persons.v1.Persons/Watch"
LOAD = "persons.v1.Persons/Load"

_STRING = "type: TYPE_STRING"
_ONE, _MANY = "label: LABEL_OPTIONAL", "label: LABEL_REPEATED"
_TYPES = f"""
  name: "persons/v1/types.proto" package: "persons.v1" syntax: "proto3"
  message_type {{ name: "Person"
    field {{ name: "code" number: 1 {_STRING} {_ONE} }}
    field {{ name: "parents" number: 2 type: TYPE_MESSAGE
             type_name: ".persons.v1.Person" {_MANY} }}
  }}
  message_type {{ name: "Empty" }}
"""
_SERVICE = f"""
  name: "persons/v1/persons.proto" package: "persons.v1" syntax: "proto3"
  dependency: "persons/v1/types.proto"
  message_type {{ name: "GetRequest"
    field {{ name: "code" number: 1 {_STRING} {_ONE} }}
    field {{ name: "also" number: 2 {_STRING} {_MANY} }}
    field {{ name: "age" number: 3 type: TYPE_INT32 {_ONE} }}
  }}
  message_type {{ name: "ListRequest"
    field {{ name: "municipality" number: 1 {_STRING} {_ONE} }} }}
  message_type {{ name: "Answer"
    field {{ name: "person" number: 1 type: TYPE_MESSAGE
             type_name: ".persons.v1.Person" {_ONE} oneof_index: 0 }}
    field {{ name: "code" number: 2 {_STRING} {_ONE} oneof_index: 0 }}
    field {{ name: "persons" number: 3 type: TYPE_MESSAGE
             type_name: ".persons.v1.Person" {_MANY} }}
    field {{ name: "by_name" number: 4 type: TYPE_MESSAGE
             type_name: ".persons.v1.Answer.ByNameEntry" {_MANY} }}
    field {{ name: "names" number: 5 type: TYPE_MESSAGE
             type_name: ".persons.v1.Answer.NamesEntry" {_MANY} }}
    oneof_decl {{ name: "one" }}
    nested_type {{ name: "ByNameEntry" options {{ map_entry: true }}
      field {{ name: "key" number: 1 {_STRING} {_ONE} }}
      field {{ name: "value" number: 2 type: TYPE_MESSAGE
               type_name: ".persons.v1.Person" {_ONE} }} }}
    nested_type {{ name: "NamesEntry" options {{ map_entry: true }}
      field {{ name: "key" number: 1 {_STRING} {_ONE} }}
      field {{ name: "value" number: 2 {_STRING} {_ONE} }} }}
  }}
  service {{ name: "Persons"
    method {{ name: "Get" input_type: ".persons.v1.GetRequest"
              output_type: ".persons.v1.Answer" }}
    method {{ name: "List" input_type: ".persons.v1.ListRequest"
              output_type: ".persons.v1.Answer" }}
    method {{ name: "Watch" input_type: ".persons.v1.GetRequest"
              output_type: ".persons.v1.Answer" server_streaming: true }}
    method {{ name: "Load" input_type: ".persons.v1.GetRequest"
              output_type: ".persons.v1.Answer" client_streaming: true }}
  }}
"""


def file(text):
    return text_format.Parse(text, FileDescriptorProto())


def file_set(*files):
    return FileDescriptorSet(file=files).SerializeToString()


# The importing file first: order is no matter.
DESCRIPTORS = file_set(file(_SERVICE), file(_TYPES))
INCOMPLETE = file_set(file(_SERVICE))
WITHOUT_SERVICES = file_set(file(_TYPES))

_POOL = DescriptorPool()
for _text in (_TYPES, _SERVICE):
    _POOL.AddSerializedFile(file(_text).SerializeToString())


def message(name, **fields):
    made = GetMessageClass(_POOL.FindMessageTypeByName(f"persons.v1.{name}"))(**fields)
    return made.SerializeToString()


def person(code, *parents):
    return {"code": code, "parents": [person(each) for each in parents]}
