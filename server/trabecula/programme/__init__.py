"""What people do with a result: signing it off, and the programme that recalls patients for DXA."""
