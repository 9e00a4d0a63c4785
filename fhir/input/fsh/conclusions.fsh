Profile: BoneRiskAssessment
Parent: RiskAssessment
Id: bone-risk-assessment
Title: "Range of trabecular density as a risk"
Description: "The range as a prediction by the device: never a diagnosis, never a probability in figures, never a word that reassures."
* insert AssertedByDevice
* obeys trb-result-status and trb-outcome and trb-risk
* subject only Reference(Patient)
* subject obeys trb-patient
* method 1..1
* method.text 1..1
* performer 1..1
* performer only Reference(AiDevice)
* basis only Reference(LumbarEquivalentBmdObservation or BodyCompositionObservation)
* prediction 1..1
* prediction.outcome 1..1
* prediction.outcome from CtBoneCategories (required)

Profile: BoneDiagnosticReport
Parent: DiagnosticReport
Id: bone-diagnostic-report
Title: "Report of a screening"
Description: "Binds the results. Preliminary until a radiologist is its interpreter. Keeps the rules of US Core DiagnosticReport Note, and of HL7 Europe's minimal imaging metadata as to category, study and order."
* insert AssertedByDevice
* obeys trb-result-status and trb-effective and trb-report-risk and trb-radiology and trb-conclusion-code and trb-presented-form and trb-signed
* extension contains http://hl7.org/fhir/StructureDefinition/diagnosticReport-risk named risk 0..1
* basedOn ^comment = "The order, by accession number, where the site has named who issues it."
* category 1..*
* code = $LOINC#95925-4
* subject 1..1
* subject only Reference(Patient)
* subject obeys trb-patient
* effective[x] only dateTime
* issued 1..1
* resultsInterpreter only Reference(Practitioner or PractitionerRole)
* result 1..*
* imagingStudy only Reference(ScreenedImagingStudy)
* conclusion 1..1
* conclusionCode from CtBoneCategories (required)
* presentedForm.contentType 1..1

Profile: DxaServiceRequest
Parent: ServiceRequest
Id: dxa-service-request
Title: "Proposal of DXA"
Description: "A proposal for a person to turn into an order; never an order itself. Keeps the rules of US Core ServiceRequest."
* insert AssertedByDevice
* obeys trb-by-device and trb-proposal and trb-order-category
* instantiatesCanonical only Canonical(PlanDefinition)
* intent = #proposal
* category 1..*
* code 1..1
* code = $LOINC#83012-5
* subject only Reference(Patient)
* subject obeys trb-patient
* authoredOn 1..1
* requester 1..1
* requester only Reference(AiDevice)
* reasonReference 1..*
* reasonReference only Reference(BoneDiagnosticReport)
* note 1..*

Profile: BoneDetectedIssue
Parent: DetectedIssue
Id: bone-detected-issue
Title: "Fracture suspected"
Description: "Something that should not wait for the next visit: a vertebral fracture suspected, with or without density in the osteoporosis range."
* insert AssertedByDevice
* obeys trb-issue
* code 1..1
* severity 1..1
* patient 1..1
* patient only Reference(Patient)
* patient obeys trb-patient
* identified[x] only dateTime
* author 1..1
* author only Reference(AiDevice)
* evidence 1..*
* evidence.detail 1..*
* evidence.detail only Reference(TrabecularBmdObservation)
* detail 1..1
