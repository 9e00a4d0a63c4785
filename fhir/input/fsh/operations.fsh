Instance: screen-bone
InstanceOf: OperationDefinition
Usage: #definition
Title: "Screen a CT study for bone"
Description: "Fetches a CT study over DICOMweb and screens it. The same study read by the same release gives the same resources."
* url = "https://trabecula.example/fhir/OperationDefinition/screen-bone"
* version = "1.0.0"
* name = "ScreenBone"
* title = "Screen a CT study for bone"
* status = #draft
* kind = #operation
* experimental = false
* date = "2026-11-22"
* publisher = "The Trabecula project"
* description = "Fetches a CT study over DICOMweb and screens it. With Prefer: respond-async, or when the result does not come in time, the answer is 202 with an address to ask again (Content-Location). A study that cannot be read is a result as well: a Bundle with coded reasons. The same study read by the same release gives the same resources."
* affectsState = true
* code = #screen-bone
* resource = #ImagingStudy
* system = false
* type = true
* instance = true
* parameter[0].name = #study
* parameter[=].use = #in
* parameter[=].min = 0
* parameter[=].max = "1"
* parameter[=].documentation = "The study, by reference or by identifier: system urn:dicom:uid and its Study Instance UID as urn:oid. Left out when the operation is called on an ImagingStudy."
* parameter[=].type = #Reference
* parameter[=].targetProfile = "http://hl7.org/fhir/StructureDefinition/ImagingStudy"
* parameter[+].name = #force
* parameter[=].use = #in
* parameter[=].min = 0
* parameter[=].max = "1"
* parameter[=].documentation = "Screen anew even if a result of this release is kept already."
* parameter[=].type = #boolean
* parameter[+].name = #return
* parameter[=].use = #out
* parameter[=].min = 1
* parameter[=].max = "1"
* parameter[=].documentation = "A Bundle of type collection with the resources of the result, the DiagnosticReport first."
* parameter[=].type = #Bundle
