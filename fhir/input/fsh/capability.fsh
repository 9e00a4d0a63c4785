// What a system that offers these results is required to do; the program's own statement is at its /fhir/metadata.

RuleSet: Offers(type)
* rest.resource[+].type = #{type}
* rest.resource[=].interaction[0].code = #read
* rest.resource[=].interaction[+].code = #search-type

RuleSet: Profile(id)
* rest.resource[=].supportedProfile[+] = "https://trabecula.example/fhir/StructureDefinition/{id}"

RuleSet: Search(name, kind, definition)
* rest.resource[=].searchParam[+].name = "{name}"
* rest.resource[=].searchParam[=].type = #{kind}
* rest.resource[=].searchParam[=].definition = "http://hl7.org/fhir/SearchParameter/{definition}"

Instance: bone-results-server
InstanceOf: CapabilityStatement
Usage: #definition
Title: "Server of bone results"
Description: "What a server that offers the results of this guide is required to do."
* url = "https://trabecula.example/fhir/CapabilityStatement/bone-results-server"
* version = "1.0.0"
* name = "BoneResultsServer"
* title = "Server of bone results"
* status = #draft
* experimental = false
* date = "2026-11-22"
* publisher = "The Trabecula project"
* description = "What a server that offers the results of this guide is required to do."
* kind = #requirements
* fhirVersion = #4.0.1
* format[0] = #json
* implementationGuide = "https://trabecula.example/fhir/ImplementationGuide/trabecula.fhir"
* rest.mode = #server
* rest.security.service = http://terminology.hl7.org/CodeSystem/restful-security-service#SMART-on-FHIR
* rest.security.description = "Scopes system/*.rs and patient/*.rs, or narrower ones."
* insert Offers(Observation)
* insert Profile(trabecular-bmd-observation)
* insert Profile(mean-trabecular-bmd-observation)
* insert Profile(lumbar-equivalent-bmd-observation)
* insert Profile(body-composition-observation)
* insert Profile(second-reader-observation)
* insert Profile(quality-observation)
* insert Search(patient, reference, clinical-patient)
* insert Search(identifier, token, clinical-identifier)
* insert Search(code, token, clinical-code)
* insert Search(date, date, clinical-date)
* insert Offers(DiagnosticReport)
* insert Profile(bone-diagnostic-report)
* insert Search(patient, reference, clinical-patient)
* insert Search(identifier, token, clinical-identifier)
* insert Search(code, token, clinical-code)
* insert Search(date, date, clinical-date)
* insert Search(result, reference, DiagnosticReport-result)
* rest.resource[=].searchInclude[0] = "DiagnosticReport:result"
* insert Offers(RiskAssessment)
* insert Profile(bone-risk-assessment)
* insert Search(patient, reference, clinical-patient)
* insert Search(identifier, token, clinical-identifier)
* insert Offers(ServiceRequest)
* insert Profile(dxa-service-request)
* insert Search(patient, reference, clinical-patient)
* insert Search(identifier, token, clinical-identifier)
* insert Search(code, token, clinical-code)
* insert Search(authored, date, ServiceRequest-authored)
* insert Offers(DetectedIssue)
* insert Profile(bone-detected-issue)
* insert Search(patient, reference, clinical-patient)
* insert Search(identifier, token, clinical-identifier)
* insert Offers(ImagingStudy)
* insert Profile(screened-imaging-study)
* insert Search(patient, reference, clinical-patient)
* insert Search(identifier, token, clinical-identifier)
* rest.resource[=].operation[0].name = "screen-bone"
* rest.resource[=].operation[0].definition = "https://trabecula.example/fhir/OperationDefinition/screen-bone"
* insert Offers(Task)
* insert Profile(programme-task)
* insert Search(patient, reference, Task-patient)
* insert Search(identifier, token, Task-identifier)
* insert Search(business-status, token, Task-business-status)
* insert Offers(Device)
* insert Profile(ai-device)
* insert Search(identifier, token, Device-identifier)
* insert Offers(DocumentReference)
* insert Profile(model-card-document-reference)
* insert Search(type, token, clinical-type)
* insert Offers(Provenance)
* insert Profile(result-provenance)
* insert Search(target, reference, Provenance-target)
* insert Offers(AuditEvent)
* insert Profile(access-audit-event)
* insert Search(patient, reference, AuditEvent-patient)
* insert Search(date, date, AuditEvent-date)
* insert Offers(PlanDefinition)
* rest.resource[=].operation[0].name = "apply"
* rest.resource[=].operation[0].definition = "http://hl7.org/fhir/OperationDefinition/PlanDefinition-apply"
