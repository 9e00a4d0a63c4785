Profile: AiDevice
Parent: Device
Id: ai-device
Title: "Release of the software and its models"
Description: "One release: the software, the clinical data and every model that had a part, by version and SHA-256. Follows AI-Device of HL7 AI Transparency on FHIR (ballot of January 2026, text of August 2026), whose extensions AIKind and modelCardDescription it carries."
* identifier 1..*
* obeys trb-identity and trb-device-status and trb-device-type and trb-device-version and trb-device-card
* status 1..1
* deviceName 1..*
* type 1..1
* version 1..*

Profile: ModelCardDocumentReference
Parent: DocumentReference
Id: model-card-document-reference
Title: "Card of a model"
Description: "What a model was made from, how good it is, where it fails. Follows AI-ModelCard of HL7 AI Transparency on FHIR."
* identifier 1..*
* obeys trb-identity and trb-card
* type 1..1
* category 1..*
* content.attachment.contentType 1..1
* content.attachment.size 1..1
* content.attachment.hash 1..1

Profile: ScreenedImagingStudy
Parent: ImagingStudy
Id: screened-imaging-study
Title: "Study that was read"
Description: "The CT study by its UID and accession number, with the series that was used."
* obeys trb-id and trb-study-uid and trb-modality
* identifier 1..*
* modality 1..1
* subject only Reference(Patient)
* subject obeys trb-patient

Profile: ResultProvenance
Parent: Provenance
Id: result-provenance
Title: "Making of a result"
Description: "Who made what from what: the device as author; once a person has signed, that person as verifier, and the version before as revision. Follows AI-Provenance of HL7 AI Transparency on FHIR."
* obeys trb-id and trb-author and trb-verifier and trb-reason
* reason 1..*
* activity 1..1
